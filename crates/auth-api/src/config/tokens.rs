//! Which access tokens are ours; the same settings as session-service has.

use access_tokens::TokenScope;
use clap::Args;
use service_runtime::{Environment, Problems};

/// The flags and variables of access tokens.
#[derive(Args, Clone)]
pub struct TokenSettings {
    /// The issuer of access tokens, a URL; as session-service has it.
    #[arg(long, env = "TOKEN_ISSUER")]
    token_issuer: Option<String>,
    /// The audience of access tokens; as session-service has it.
    #[arg(long, env = "TOKEN_AUDIENCE")]
    token_audience: Option<String>,
}

/// Parses the settings; `None` when `problems` got an entry.
pub(super) fn parse(
    settings: TokenSettings,
    environment: Environment,
    problems: &mut Problems,
) -> Option<TokenScope> {
    let issuer = problems.required("TOKEN_ISSUER", settings.token_issuer).and_then(|issuer| {
        let checked = TokenScope::check_issuer(&issuer);
        checked.map_err(|error| problems.add("TOKEN_ISSUER", error)).ok().map(|()| issuer)
    });
    let audience = problems.required("TOKEN_AUDIENCE", settings.token_audience).and_then(|audience| {
        let checked = TokenScope::check_audience(&audience);
        checked.map_err(|error| problems.add("TOKEN_AUDIENCE", error)).ok().map(|()| audience)
    });
    Some(TokenScope::new(environment.name(), &issuer?, &audience?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(issuer: Option<&str>, audience: Option<&str>) -> (Option<TokenScope>, String) {
        let settings = TokenSettings {
            token_issuer: issuer.map(str::to_owned),
            token_audience: audience.map(str::to_owned),
        };
        let mut problems = Problems::new();
        let scope = parse(settings, Environment::Production, &mut problems);
        (scope, problems.to_string())
    }

    #[test]
    fn both_are_needed_and_every_mistake_is_named() {
        let (scope, _) = parsed(Some("https://auth.example"), Some("feature-auth"));
        assert_eq!(scope.unwrap().implicit_assertion(), b"production|https://auth.example|access");
        for (issuer, audience) in [(None, None), (Some("auth.example"), Some("two words"))] {
            let (scope, said) = parsed(issuer, audience);
            assert!(
                scope.is_none() && said.contains("TOKEN_ISSUER") && said.contains("TOKEN_AUDIENCE"),
                "{said}"
            );
        }
    }
}
