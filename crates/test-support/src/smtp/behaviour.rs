use std::time::Duration;

/// Where in a conversation something happens: instead of the answer to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The greeting.
    Connect,
    /// `EHLO` and `HELO`.
    Hello,
    /// `STARTTLS`.
    StartTls,
    /// `AUTH`.
    Auth,
    /// `MAIL`.
    MailFrom,
    /// `RCPT`.
    RcptTo,
    /// `DATA`.
    Data,
    /// The dot that ends a message.
    Message,
}

impl Step {
    /// Whether a mail is being handed over, so that what is said about its recipient counts. At `MAIL` the recipient is not known yet.
    pub(super) fn knows_recipient(self) -> bool {
        matches!(self, Self::RcptTo | Self::Data | Self::Message)
    }
}

/// What to do with a mail or a connection.
///
/// What concerns a step before `RCPT` can only be queued or be the default: nobody has named a recipient yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Accept.
    Accept,
    /// Answer this to a step, such as `451 4.3.0 Try again later`. After 421 the connection is closed.
    Answer(Step, &'static str),
    /// Say nothing from a step on, and keep the connection.
    Stall(Step),
    /// Do as asked, but wait this long before each answer from `RCPT` on.
    Slow(Duration),
    /// Close the connection instead of an answer.
    Disconnect(Step),
    /// Reset the connection instead of an answer. After the dot the message counts as received.
    Reset(Step),
    /// Say that it was accepted, and lose it.
    Swallow,
    /// Send this, unencrypted, right behind the answer to `STARTTLS`, as somebody on the way can; then do as asked.
    Inject(&'static str),
}

impl Behaviour {
    /// 421 at `RCPT`, and the connection ends.
    pub const SHUTTING_DOWN: Self = Self::Answer(Step::RcptTo, "421 4.3.2 Service shutting down");
    /// 450 at `RCPT`: the mailbox is busy.
    pub const BUSY: Self = Self::Answer(Step::RcptTo, "450 4.2.1 Mailbox busy");
    /// 451 after the message.
    pub const LATER: Self = Self::Answer(Step::Message, "451 4.3.0 Try again later");
    /// 452 after the message: the server's disk is full.
    pub const NO_STORAGE: Self = Self::Answer(Step::Message, "452 4.3.1 Insufficient system storage");
    /// 550 at `RCPT`: no such mailbox.
    pub const UNKNOWN: Self = Self::Answer(Step::RcptTo, "550 5.1.1 No such mailbox");
    /// 552 at `RCPT`: the mailbox is full, and this server says so for good.
    pub const FULL: Self = Self::Answer(Step::RcptTo, "552 5.2.2 Mailbox full");
    /// 554 after the message: taken for spam.
    pub const SPAM: Self = Self::Answer(Step::Message, "554 5.7.1 Message refused");
    /// The message is taken, and the connection reset before anybody says so.
    pub const RESET_AFTER_DOT: Self = Self::Reset(Step::Message);

    /// The step that a queued behaviour waits for.
    pub(super) fn step(&self) -> Step {
        match self {
            Self::Answer(step, _) | Self::Stall(step) | Self::Disconnect(step) | Self::Reset(step) => *step,
            Self::Slow(_) => Step::RcptTo,
            Self::Accept | Self::Swallow => Step::Message,
            Self::Inject(_) => Step::StartTls,
        }
    }

    /// Whether it says something about `step`. What is slow is so at every step of a mail.
    pub(super) fn concerns(&self, step: Step) -> bool {
        match self {
            Self::Slow(_) => step.knows_recipient(),
            _ => self.step() == step,
        }
    }
}
