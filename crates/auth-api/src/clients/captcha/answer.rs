//! What `siteverify` answers, and what that means.

use serde::Deserialize;

use super::CaptchaAction;

/// Codes that blame the token.
const BAD_TOKEN: [&str; 3] = ["missing-input-response", "invalid-input-response", "timeout-or-duplicate"];
/// Codes that blame our configuration.
const BAD_SECRET: [&str; 4] =
    ["missing-input-secret", "invalid-input-secret", "invalid-parsed-secret", "invalid-widget-id"];

/// The provider's answer, without what nobody here needs.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answer {
    success: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    action: String,
    #[serde(default, rename = "error-codes")]
    error_codes: Vec<String>,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A person solved the captcha, here and for this.
    Passed,
    /// The token proves nothing, for this reason.
    Refused(&'static str),
    /// The provider does not accept our secret.
    SecretRefused,
    /// The provider could not decide.
    Undecided,
}

/// Where and for what a captcha must have been solved.
pub(super) struct Purpose<'a> {
    /// The sites that may show our widget.
    pub hostnames: &'a [String],
    /// What the token must have been made for.
    pub action: CaptchaAction,
}

impl Answer {
    /// Whether the provider asks to be asked again.
    pub(super) fn is_internal_error(&self) -> bool {
        self.error_codes.iter().any(|code| code == "internal-error")
    }

    /// What the answer means for `purpose`; without one, for any.
    pub(super) fn verdict(&self, purpose: Option<&Purpose<'_>>) -> Verdict {
        if self.success {
            return purpose.map_or(Verdict::Passed, |purpose| self.verdict_on_purpose(purpose));
        }
        let has = |known: &&str| self.error_codes.iter().any(|code| code == known);
        if BAD_SECRET.iter().any(has) {
            return Verdict::SecretRefused;
        }
        let only_blames_token = self.error_codes.iter().all(|code| BAD_TOKEN.contains(&code.as_str()));
        match BAD_TOKEN.iter().find(|code| has(code)) {
            Some(code) if only_blames_token => Verdict::Refused(code),
            _ => Verdict::Undecided,
        }
    }

    fn verdict_on_purpose(&self, purpose: &Purpose<'_>) -> Verdict {
        let hostname = self.hostname.as_str();
        if !purpose.hostnames.iter().any(|known| known.eq_ignore_ascii_case(hostname)) {
            tracing::warn!("A captcha was solved on {hostname:?}, which TURNSTILE_HOSTNAMES does not name");
            return Verdict::Refused("hostname-mismatch");
        }
        if self.action != purpose.action.name() {
            return Verdict::Refused("action-mismatch");
        }
        Verdict::Passed
    }

    /// The codes, for the log.
    pub(super) fn codes(&self) -> String {
        self.error_codes.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(json: &str) -> Verdict {
        let hostnames = ["app.example.test".to_owned()];
        let purpose = Purpose { hostnames: &hostnames, action: CaptchaAction::Register };
        serde_json::from_str::<Answer>(json).unwrap().verdict(Some(&purpose))
    }

    #[test]
    fn success_counts_for_one_site_and_one_action() {
        let cases = [
            (r#"{"success":true,"hostname":"App.example.test","action":"register"}"#, Verdict::Passed),
            (r#"{"success":true}"#, Verdict::Refused("hostname-mismatch")),
            (
                r#"{"success":true,"hostname":"evil.test","action":"register"}"#,
                Verdict::Refused("hostname-mismatch"),
            ),
            (
                r#"{"success":true,"hostname":"app.example.test.evil.test","action":"register"}"#,
                Verdict::Refused("hostname-mismatch"),
            ),
            (
                r#"{"success":true,"hostname":"app.example.test","action":"login"}"#,
                Verdict::Refused("action-mismatch"),
            ),
            (r#"{"success":true,"hostname":"app.example.test"}"#, Verdict::Refused("action-mismatch")),
        ];
        for (json, expected) in cases {
            assert_eq!(verdict(json), expected, "{json}");
        }
    }

    #[test]
    fn the_codes_say_whose_fault_it_is() {
        let cases = [
            (r#"["timeout-or-duplicate"]"#, Verdict::Refused("timeout-or-duplicate")),
            (r#"["invalid-input-response"]"#, Verdict::Refused("invalid-input-response")),
            (r#"["invalid-input-secret"]"#, Verdict::SecretRefused),
            (r#"["missing-input-secret","missing-input-response"]"#, Verdict::SecretRefused),
            (r#"["internal-error"]"#, Verdict::Undecided),
            (r#"["invalid-input-response","internal-error"]"#, Verdict::Undecided),
            (r#"["bad-request"]"#, Verdict::Undecided),
            (r#"["something-new"]"#, Verdict::Undecided),
            ("[]", Verdict::Undecided),
        ];
        for (codes, expected) in cases {
            assert_eq!(
                verdict(&format!(r#"{{"success":false,"error-codes":{codes}}}"#)),
                expected,
                "{codes}"
            );
        }
    }
}
