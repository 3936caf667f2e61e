use std::time::Instant;

/// What the client was told about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// 250, and it is kept.
    Accepted,
    /// 250, but it is lost.
    Swallowed,
    /// Another answer, so it is not kept.
    Refused(&'static str),
    /// Nothing: the connection ended, or the server fell silent. It is kept, and nobody knows.
    Nothing,
}

/// A message that came to its end.
#[derive(Debug, Clone)]
pub struct ReceivedMail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// Headers and body as they were sent, dots unstuffed.
    pub bytes: Vec<u8>,
    /// Its `Message-ID`, without brackets.
    pub message_id: Option<String>,
    /// What the client was told.
    pub answered: Answered,
    /// The number of the connection, from 0.
    pub connection: usize,
    /// Whether it came encrypted.
    pub encrypted: bool,
    /// Who had logged in.
    pub user: Option<String>,
    /// When `MAIL` was sent.
    pub started: Instant,
    /// When its last byte came.
    pub ended: Instant,
}

impl ReceivedMail {
    /// Whether somebody finds it in a mailbox.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        matches!(self.answered, Answered::Accepted | Answered::Nothing)
    }

    /// Headers and body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// What is below the headers. What separates its parts is another word each time, and is left out.
    #[must_use]
    pub fn body(&self) -> String {
        let text = self.text();
        let boundary = text.split_once("boundary=\"").and_then(|(_, rest)| rest.split_once('"'));
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        boundary.map_or_else(|| body.to_owned(), |(boundary, _)| body.replace(boundary, ""))
    }

    /// The values of a header, folded lines joined.
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<String> {
        header(&self.bytes, name)
    }
}

/// The values of a header of a message, folded lines joined.
pub(super) fn header(message: &[u8], name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(message);
    let mut values: Vec<String> = Vec::new();
    let mut is_wanted = false;
    for line in text.lines().take_while(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = values.last_mut().filter(|_| is_wanted) {
                value.push_str(line);
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        is_wanted = field.eq_ignore_ascii_case(name);
        if is_wanted {
            values.push(value.trim_start().to_owned());
        }
    }
    values
}
