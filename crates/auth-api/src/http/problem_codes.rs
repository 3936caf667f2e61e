//! The codes that callers may match: each with its one status, what it means and what helps.

/// A code of a problem document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemCode {
    /// The stable code.
    pub code: &'static str,
    /// The HTTP status that it always comes with.
    pub status: u16,
    /// What happened.
    pub meaning: &'static str,
    /// What the caller can do.
    pub remedy: &'static str,
}

/// A code in `errors` of a problem document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldCode {
    /// The stable code.
    pub code: &'static str,
    /// What is wrong with the field.
    pub meaning: &'static str,
}

/// The entry of a code.
#[must_use]
pub fn find(code: &str) -> Option<&'static ProblemCode> {
    PROBLEM_CODES.iter().find(|entry| entry.code == code)
}

/// The catalogue as Markdown.
#[must_use]
pub fn markdown() -> String {
    let problem = |ProblemCode { code, status, meaning, remedy }: &ProblemCode| {
        format!("| <a id=\"{code}\"></a>`{code}` | {status} | {meaning} | {remedy} |")
    };
    let field = |FieldCode { code, meaning }: &FieldCode| format!("| `{code}` | {meaning} |");
    let problems: Vec<String> = PROBLEM_CODES.iter().map(problem).collect();
    let fields: Vec<String> = FIELD_CODES.iter().map(field).collect();
    let (problems, fields) = (problems.join("\n"), fields.join("\n"));
    format!("{PREFACE}\n{PROBLEMS_HEAD}\n{problems}\n\n{FIELDS}\n{FIELDS_HEAD}\n{fields}\n")
}

const PREFACE: &str = "# Errors

Generated from `crates/auth-api/src/http/problem_codes.rs` by `make generate`; a running auth-api serves the same at `/problems` and `/problems/{code}`.

Every error is a problem document (RFC 9457, `application/problem+json`). `code` is stable, comes with one status and may be matched; `title` and
`detail` are for people and may change, but for three that old clients match: `Captcha required.`, `Email or password is incorrect.` and
`Invalid security code.`. `requestId` is also in the header `X-Request-Id`; an operator finds the request by it. Where waiting helps, `retryAfter` and
the header `Retry-After` say how many seconds. `captchaRequired` says that a solved captcha would help.
";

const PROBLEMS_HEAD: &str = "| code | status | what happened | what helps |\n|---|---|---|---|";
const FIELDS_HEAD: &str = "| code | what is wrong |\n|---|---|";

const FIELDS: &str = "## Fields

`errors` of a problem document names each field that is wrong, with one of these codes or one of the codes of passwords above.
";

const fn code(code: &'static str, status: u16, meaning: &'static str, remedy: &'static str) -> ProblemCode {
    ProblemCode { code, status, meaning, remedy }
}

const fn field(code: &'static str, meaning: &'static str) -> FieldCode {
    FieldCode { code, meaning }
}

/// Every code, in the order of the alphabet.
pub const PROBLEM_CODES: &[ProblemCode] = &[
    code(
        "captcha_invalid",
        400,
        "The captcha's provider did not accept the answer, or it was given before, for another action or on another host.",
        "Show the captcha again and send its new answer. The widget must have the action of the request, `register`, `login`, `forgot` or `resend`, \
         and be on a page of a host that the operator lists in `TURNSTILE_HOSTNAMES`.",
    ),
    code(
        "captcha_required",
        400,
        "The request needs the answer of a captcha and has none.",
        "Show the captcha and send its answer as `captchaToken`.",
    ),
    code(
        "captcha_unavailable",
        503,
        "The captcha's provider cannot be asked.",
        "Try again after `Retry-After`, with a new answer.",
    ),
    code(
        "challenge_invalid",
        400,
        "The login or the enrolment that waited for a security code is over: too old, used or tried too often.",
        "Begin again, with the password.",
    ),
    code(
        "cursor_invalid",
        400,
        "The cursor is not one that this list gave out.",
        "Read the list from its beginning.",
    ),
    code(
        "deadline_exceeded",
        503,
        "The work on the request took longer than three seconds and was given up.",
        "Try again after `Retry-After`; with an `Idempotency-Key` where that is offered.",
    ),
    code("email_taken", 409, "Another account has the address.", "Choose another address."),
    code("email_unchanged", 422, "The account has the address already.", "Give another address."),
    code(
        "email_unverified",
        403,
        "The password is right, and nobody has proved the address yet.",
        "Open the link in the mail, or ask for another one at `/v1/auth/resend-verification`.",
    ),
    code(
        "enrolment_invalid",
        400,
        "The enrolment of the second factor is over: too old, or replaced by a newer one.",
        "Begin again at `/v1/auth/2fa/enable-init`.",
    ),
    code(
        "export_not_found",
        404,
        "There is no such copy of your data, or not any more.",
        "Ask for another one.",
    ),
    code("head_too_large", 431, "The head of the request is too large.", "Send fewer or shorter headers."),
    code(
        "idempotency_in_progress",
        409,
        "The first request with this `Idempotency-Key` is not finished.",
        "Send it again after `Retry-After`.",
    ),
    code(
        "idempotency_key_invalid",
        400,
        "The `Idempotency-Key` is given twice, or is not 16 to 255 printable ASCII characters.",
        "Send one key, for example a UUID.",
    ),
    code(
        "idempotency_key_reused",
        422,
        "The `Idempotency-Key` was used for a request with another body.",
        "Use a new key for a new request.",
    ),
    code(
        "incomplete_body",
        400,
        "The body did not arrive whole within ten seconds.",
        "Send the request again.",
    ),
    code("internal", 500, "Something went wrong on our side.", "Tell the operator the `requestId`."),
    code(
        "invalid_credentials",
        401,
        "Address and password do not belong together, or the account is closed; which of these is not told.",
        "Ask the user again. After some failures a captcha is asked for (`captchaRequired`).",
    ),
    code(
        "invalid_request",
        400,
        "Fields of the request cannot be understood; `errors` names them.",
        "Correct them.",
    ),
    code(
        "invalid_token",
        401,
        "The access or refresh token is not good, or its session is over.",
        "Refresh an access token; otherwise log in again.",
    ),
    code("malformed_json", 400, "The body is not a JSON object.", "Send one."),
    code(
        "method_not_allowed",
        405,
        "The path has no such method; `Allow` lists those it has.",
        "Use one of them.",
    ),
    code(
        "misdirected_request",
        421,
        "The request names a host that is not served here.",
        "Use the public address of the interface.",
    ),
    code(
        "missing_token",
        401,
        "The request needs an access token, or with `X-Token-Transport: cookie` the cookie with the refresh token.",
        "Log in, and send the token.",
    ),
    code(
        "not_found",
        404,
        "There is no such path or thing, or none that you may know of.",
        "Check the address.",
    ),
    code(
        "origin_not_allowed",
        403,
        "The page that sent the request may not use cookies here.",
        "The operator lists pages in `CORS_ORIGINS`; programs use the tokens in the bodies.",
    ),
    code(
        "otp_invalid",
        400,
        "The security code is wrong, too old or used.",
        "Ask for the next code of the authenticator app, or for another recovery code.",
    ),
    code(
        "otp_required",
        401,
        "The account has a second factor, and this needs a fresh proof of it.",
        "Send `otp` with the password: a code of the authenticator app, or a recovery code. Where a recent login is enough, the new access token of \
         `/v1/auth/reauthenticate`, called with both, does as well.",
    ),
    code(
        "overloaded",
        503,
        "Too many passwords are being checked at once.",
        "Try again after `Retry-After`.",
    ),
    code(
        "password_breached",
        422,
        "The password is known from a theft of data elsewhere.",
        "Choose another one.",
    ),
    code(
        "password_common",
        422,
        "The password is among the first that anybody would try.",
        "Choose another one.",
    ),
    code(
        "password_context",
        422,
        "The password is too close to the user's name or address or to the product's name.",
        "Choose another one.",
    ),
    code("password_invalid", 422, "The password contains a character that cannot be typed.", "Leave it out."),
    code(
        "password_too_long",
        422,
        "The password is longer than `maximum` of `errors`.",
        "Choose a shorter one.",
    ),
    code(
        "password_too_short",
        422,
        "The password is shorter than `minimum` of `errors`.",
        "Choose a longer one.",
    ),
    code("payload_too_large", 413, "The body is larger than 16 KiB.", "Send less."),
    code(
        "preflight_refused",
        403,
        "A browser asked whether a page may send a request, and page, method or header is not allowed.",
        "The operator lists pages in `CORS_ORIGINS`.",
    ),
    code(
        "rate_limited",
        429,
        "There were too many requests from this address or of this user or session; `RateLimit-Policy` names the limit.",
        "Wait for `Retry-After`.",
    ),
    code(
        "reauth_required",
        401,
        "The password is missing, and the login is too long ago, was without the second factor, or is not enough here however recent it is; or the \
         account's credentials changed meanwhile.",
        "Send `password`, and `otp` where there is a second factor, with the request. `/v1/auth/change-email`, `/v1/auth/change-password` (there it is \
         `currentPassword`), `/v1/auth/2fa/disable` and `/v1/auth/2fa/recovery-codes` always want them. Where a recent login is enough, the new access \
         token of `/v1/auth/reauthenticate` does as well.",
    ),
    code(
        "refresh_reused",
        401,
        "The refresh token was used before. Somebody may have stolen it, so its session is over.",
        "Log in again.",
    ),
    code("registration_disabled", 403, "Nobody may register here.", "Ask the operator for an invitation."),
    code(
        "second_factor_locked",
        423,
        "There were too many wrong security codes in a row.",
        "Wait for `Retry-After`. Another login does not shorten it.",
    ),
    code("session_not_found", 404, "You have no such session.", "Read the list of sessions again."),
    code(
        "set_password_required",
        409,
        "The link was opened in another browser than the one that registered.",
        "Let the user choose a password and send it as `newPassword` with the same token.",
    ),
    code(
        "token_invalid",
        400,
        "The link of the mail is too old, used, or replaced by that of a newer mail.",
        "Ask for another mail.",
    ),
    code("too_many_attempts", 429, "There were too many wrong passwords.", "Wait for `Retry-After`."),
    code("totp_already_enabled", 409, "The account has a second factor.", "Disable it first."),
    code("totp_not_enabled", 409, "The account has no second factor.", "Enable one first."),
    code("unavailable", 503, "Something that this needs is not available.", "Try again after `Retry-After`."),
    code(
        "unsupported_media_type",
        415,
        "The body is compressed, or not declared as JSON in UTF-8.",
        "Send it as it is, as `application/json`.",
    ),
];

/// Every code of a field, in the order of the alphabet.
pub const FIELD_CODES: &[FieldCode] = &[
    field("ambiguous_login", "Either `challengeId` is given, or `email` and `password`."),
    field("device_name_invalid", "The name of a device has 1 to 100 printable characters."),
    field("display_name_invalid", "A name has 1 to 100 printable characters."),
    field("duplicate_field", "The field is given twice."),
    field("duplicate_parameter", "The parameter is given twice."),
    field("email_invalid", "This is not an e-mail address."),
    field("email_unchanged", "The account has the address already."),
    field("invalid_type", "The field has a value of another type."),
    field("limit_invalid", "The length of a page is a number within the bounds of the list."),
    field("locale_unknown", "Mails are not written in this language."),
    field("missing_field", "The field is required."),
    field("not_with_cookies", "With `X-Token-Transport: cookie` the token travels in the cookie only."),
    field("token_transport_unknown", "The only value of `X-Token-Transport` is `cookie`."),
    field("unknown_field", "The field is not known."),
    field("unknown_parameter", "The parameter is not known."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_listed_once_and_in_order() {
        let codes: Vec<&str> = PROBLEM_CODES.iter().map(|entry| entry.code).collect();
        assert!(codes.is_sorted_by(|left, right| left < right), "{codes:?}");
        assert!(FIELD_CODES.is_sorted_by(|left, right| left.code < right.code));
    }

    #[test]
    fn texts_are_sentences_that_fit_a_table() {
        for entry in PROBLEM_CODES {
            for text in [entry.meaning, entry.remedy] {
                assert!(text.ends_with('.') && !text.contains(['|', '\n', '<', '>', '&']), "{}", entry.code);
            }
            assert!((400..=599).contains(&entry.status), "{}", entry.code);
        }
    }
}
