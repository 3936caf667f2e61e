//! How a refused password is explained; a good product says why.

use service_error::FieldError;

use crate::domain::{
    guessable_password::Guessable,
    plain_password::{MAX_CODE_POINTS, MIN_CODE_POINTS, PasswordError},
};

/// The stable code.
#[must_use]
pub fn code(error: PasswordError) -> &'static str {
    match error {
        PasswordError::TooShort => "password_too_short",
        PasswordError::TooLong => "password_too_long",
        PasswordError::ContainsNul => "password_invalid",
        PasswordError::Context => "password_context",
        PasswordError::Guessable(_) => "password_common",
        PasswordError::Breached => "password_breached",
    }
}

/// The sentence for the user.
#[must_use]
pub fn detail(error: PasswordError) -> String {
    match error {
        PasswordError::TooShort => {
            format!("Use at least {MIN_CODE_POINTS} characters. A few unrelated words are easy to remember.")
        }
        PasswordError::TooLong => format!("Use at most {MAX_CODE_POINTS} characters."),
        PasswordError::ContainsNul => "The password contains a character that cannot be typed.".to_owned(),
        PasswordError::Context => {
            "The password is too close to your name, your address or the product's name.".to_owned()
        }
        PasswordError::Guessable(why) => guessable(why).to_owned(),
        PasswordError::Breached => {
            "The password was published after a theft of data elsewhere. Use another one, there as well."
                .to_owned()
        }
    }
}

fn guessable(why: Guessable) -> &'static str {
    match why {
        Guessable::Listed => "Many people use this password, and attackers try it first.",
        Guessable::FewCharacters => "The password has only a few different characters.",
        Guessable::Repetition => "The password repeats something short or common.",
        Guessable::Sequence => {
            "The password is little more than a sequence of neighbouring characters or keys."
        }
    }
}

/// The entry for `errors`, with the limit that was missed.
#[must_use]
pub fn field_error(field: &str, error: PasswordError) -> FieldError {
    let (minimum, maximum) = match error {
        PasswordError::TooShort => (Some(MIN_CODE_POINTS), None),
        PasswordError::TooLong => (None, Some(MAX_CODE_POINTS)),
        PasswordError::ContainsNul
        | PasswordError::Context
        | PasswordError::Guessable(_)
        | PasswordError::Breached => (None, None),
    };
    FieldError { minimum, maximum, ..FieldError::new(field, code(error), detail(error)) }
}
