use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex};

/// What stands where a secret stood.
pub(crate) const REDACTED: &str = "[redacted]";

/// Endings of names whose values are secret, as a regular expression.
const SECRET_NAMES: &str = "password|passwd|password_?hash|pwd|passphrase|secret|token|\
    (?:api|private|signing|secret|session|encryption|pepper)[_-]?key|pepper|authorization|cookie|otp|totp|recovery[_-]?codes?";

static SECRET_NAME: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("(?i)(?:{SECRET_NAMES})$")));

static SECRETS: LazyLock<Regex> = LazyLock::new(|| {
    // A quoted value, also one that was quoted again: "a\"b", \"a\\\"b\".
    let quoted = r#""(?:[^"\\]|\\.)*"?"#;
    let requoted = r#"\\"(?:[^"\\]|\\\\\\"|\\\\\\\\|\\\\[^"\\])*"#;
    pattern(&format!(
        r#"(?x)
          (?P<token>  v[1-4]\.(?:public|local)\.[A-Za-z0-9_.-]+ | k[1-4]\.(?:local|secret)[a-z-]*\.[A-Za-z0-9_.-]+ | f(?:a[cdert]|rh)_[A-Za-z0-9_-]{{6,}} )
        | (?P<scheme> (?i:bearer)(?:\s|%20|\+)+ ) [A-Za-z0-9._~+/=-]+
        | (?P<pair>   (?i:[\w.-]*(?:{SECRET_NAMES})) (?: \\*" )? \s* [:=] \s* (?:Some\()? ) (?: {quoted} | {requoted} )
        | (?P<query>  (?i:[\w.-]*(?:{SECRET_NAMES})) = ) [^\s"&,;\\{{}}()\[\]]+
        | (?P<url>    :// ) [^\s/"@]*:[^\s/"]*@
        | (?P<email>  [^\s@"'<>()\[\]{{}},:;=&?/\#\\]+ (?:@|%40) [\p{{L}}\p{{N}}-]+ (?: \.[\p{{L}}\p{{N}}-]+ )* \.\p{{L}}[\p{{L}}\p{{N}}-]+ )
        "#
    ))
});

#[expect(clippy::expect_used, reason = "constant patterns, which the tests compile")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is valid")
}

/// The text without what must never leave the process: tokens, passwords, secrets, user information in URLs and e-mail addresses.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    SECRETS.replace_all(text, |found: &Captures<'_>| {
        if found.name("email").is_some() {
            return "[email]".to_owned();
        }
        if found.name("url").is_some() {
            return format!("://{REDACTED}@");
        }
        let kept = ["scheme", "pair", "query"]
            .iter()
            .find_map(|name| found.name(name))
            .map_or("", |kept| kept.as_str());
        format!("{kept}{REDACTED}")
    })
}

/// The value of the field `name` without what must never leave the process.
pub(crate) fn redact_field<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    if is_secret_name(name) { Cow::Owned(REDACTED.to_owned()) } else { redact(value) }
}

pub(crate) fn is_secret_name(name: &str) -> bool {
    SECRET_NAME.is_match(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_removed_and_their_surroundings_stay() {
        for (text, expected) in [
            ("plain words, 12:30 and a/b", "plain words, 12:30 and a/b"),
            ("got v4.public.eyJzdWIiOiIxIn0_-AA.eyJraWQiOiJrNCJ9!", "got [redacted]!"),
            ("got v4.local.AAAA-_9", "got [redacted]"),
            ("key k4.secret.AAAABBBB", "key [redacted]"),
            ("key id k4.pid.AAAABBBB", "key id k4.pid.AAAABBBB"),
            ("refresh far_AbC-_1234 was reused", "refresh [redacted] was reused"),
            ("handle frh_AbC-_1234", "handle [redacted]"),
            ("device fad_AbC-_1234", "device [redacted]"),
            ("challenge fac_AbC-_1234", "challenge [redacted]"),
            ("enrolment fae_AbC-_1234", "enrolment [redacted]"),
            ("https://app.example/reset#fat_AbC-_1234", "https://app.example/reset#[redacted]"),
            ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer [redacted]"),
            ("GET /?token=abcdef&page=2", "GET /?token=[redacted]&page=2"),
            ("login with password=hunter2, please", "login with password=[redacted], please"),
            (r#"{"newPassword": "a b\"c", "page": 1}"#, r#"{"newPassword": [redacted], "page": 1}"#),
            (
                r#"body {\"password\":\"a\\\"b\",\"page\":1}"#,
                r#"body {\"password\":[redacted]\",\"page\":1}"#,
            ),
            (r#"Login { password: "a b", page: 1 }"#, "Login { password: [redacted], page: 1 }"),
            (r#"Login { totp: Some("123456"), page: 1 }"#, "Login { totp: Some([redacted]), page: 1 }"),
            ("postgres://app:p@ss:word@db:5432/auth", "postgres://[redacted]@db:5432/auth"),
            ("amqp://guest:guest@127.0.0.1:5672", "amqp://[redacted]@127.0.0.1:5672"),
            ("mail to <jane.o+x@mail.example.com>!", "mail to <[email]>!"),
            ("?email=jane%40example.com&x=1", "?email=[email]&x=1"),
            ("jürgen@bücher.example", "[email]"),
            ("tonic@0.14.9 and 10.0.0.1", "tonic@0.14.9 and 10.0.0.1"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn fields_are_judged_by_their_names_too() {
        assert_eq!(redact_field("user.password", "hunter2"), REDACTED);
        assert_eq!(redact_field("refresh_token", "abc"), REDACTED);
        assert_eq!(redact_field("token_kind", "refresh"), "refresh");
    }
}
