//! What a mail server's answer to a command means for the mail, and for the mail server.

/// How far a conversation got when the answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Greeting, `EHLO`, `STARTTLS`, `AUTH`: not a word about a mail yet.
    Opening,
    /// `MAIL`: who writes.
    Sender,
    /// `RCPT`: whom to.
    Recipient,
    /// `DATA`: the server is asked whether it wants the mail now.
    Data,
    /// The mail is on its way, up to the dot.
    Message,
}

/// What to do after an answer that is not positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It is about this mail, and final.
    Refused,
    /// It is about this mail, and may be different later.
    Postponed,
    /// It is about the server, or about us: another one may be asked.
    Unavailable,
}

/// What `code` means in `phase`.
///
/// | code | in | meaning |
/// |---|---|---|
/// | 421 | anywhere | the server closes: another one |
/// | 4xx | opening, sender | the server has a problem: another one |
/// | 450, 451, 452 and other 4xx | recipient, message | greylisting, a full mailbox: later |
/// | 5xx | opening | it does not let us in: another one |
/// | 530, 534, 535, 538 | anywhere | it wants us to log in otherwise: another one |
/// | 503 | anywhere | we said something out of turn, which another connection puts right: another one |
/// | 552 | recipient | a full mailbox (RFC 5321, 4.5.3.1.10): later |
/// | 5xx, with 552 and 554 about the content | sender, recipient, message | final |
#[must_use]
pub fn meaning(phase: Phase, code: u16) -> Meaning {
    match (phase, code) {
        (Phase::Opening, _) | (Phase::Sender, 400..=499) | (_, 421 | 503 | 530 | 534 | 535 | 538) => {
            Meaning::Unavailable
        }
        (_, 400..=499) | (Phase::Recipient, 552) => Meaning::Postponed,
        (_, 500..=599) => Meaning::Refused,
        // Nothing that SMTP knows.
        _ => Meaning::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_means_what_the_table_says() {
        use Meaning::{Postponed, Refused, Unavailable};
        for (code, opening, sender, recipient, message) in [
            (421, Unavailable, Unavailable, Unavailable, Unavailable),
            (450, Unavailable, Unavailable, Postponed, Postponed),
            (451, Unavailable, Unavailable, Postponed, Postponed),
            (452, Unavailable, Unavailable, Postponed, Postponed),
            (454, Unavailable, Unavailable, Postponed, Postponed),
            (535, Unavailable, Unavailable, Unavailable, Unavailable),
            (503, Unavailable, Unavailable, Unavailable, Unavailable),
            (550, Unavailable, Refused, Refused, Refused),
            (551, Unavailable, Refused, Refused, Refused),
            (552, Unavailable, Refused, Postponed, Refused),
            (553, Unavailable, Refused, Refused, Refused),
            (554, Unavailable, Refused, Refused, Refused),
            (354, Unavailable, Unavailable, Unavailable, Unavailable),
        ] {
            assert_eq!(meaning(Phase::Opening, code), opening, "{code}");
            assert_eq!(meaning(Phase::Sender, code), sender, "{code}");
            assert_eq!(meaning(Phase::Recipient, code), recipient, "{code}");
            assert_eq!(meaning(Phase::Data, code), message, "{code}");
            assert_eq!(meaning(Phase::Message, code), message, "{code}");
        }
    }
}
