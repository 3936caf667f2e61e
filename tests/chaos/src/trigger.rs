use std::collections::VecDeque;

use crate::Direction;

/// Bytes by which protocols can be recognised.
pub mod patterns {
    /// The method `basic.publish` of AMQP 0-9-1, which only a client sends.
    pub const AMQP_PUBLISH: &[u8] = &[0, 60, 0, 40];
    /// The method `basic.ack`: from the broker it confirms a publish, from a consumer it acknowledges a delivery.
    pub const AMQP_ACK: &[u8] = &[0, 60, 0, 80];
    /// The statement that ends a transaction in PostgreSQL.
    pub const SQL_COMMIT: &[u8] = b"COMMIT";
    /// The end of a message in SMTP.
    pub const SMTP_DOT: &[u8] = b"\r\n.\r\n";
}

/// When a connection is reset, once a pattern was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// At once: the pattern does not arrive.
    Before,
    /// Instead of the next bytes of the other side: it was heard, and the answer is lost.
    InsteadOfAnswer,
}

/// Resets the connection on which a pattern is seen, so many times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    pub(crate) pattern: Vec<u8>,
    pub(crate) direction: Direction,
    pub(crate) cut: Cut,
    pub(crate) skip: usize,
    pub(crate) times: usize,
}

impl Trigger {
    /// Resets on every sight of `pattern` on its way to the server, instead of the answer.
    #[must_use]
    pub fn on(pattern: &[u8]) -> Self {
        let (direction, cut) = (Direction::ToServer, Cut::InsteadOfAnswer);
        Self { pattern: pattern.to_owned(), direction, cut, skip: 0, times: usize::MAX }
    }

    /// Looks at bytes that go this way.
    #[must_use]
    pub fn going(self, direction: Direction) -> Self {
        Self { direction, ..self }
    }

    /// Resets at this moment.
    #[must_use]
    pub fn cutting(self, cut: Cut) -> Self {
        Self { cut, ..self }
    }

    /// Lets the pattern pass so often between two resets.
    #[must_use]
    pub fn every(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// Resets no more often than this.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }
}

/// A trigger at work. All connections of a proxy count together.
#[derive(Debug)]
pub(crate) struct Armed {
    pub(crate) trigger: Trigger,
    pub(crate) seen: usize,
    pub(crate) fired: usize,
}

impl Armed {
    pub(crate) fn new(trigger: Trigger) -> Self {
        Self { trigger, seen: 0, fired: 0 }
    }

    /// Whether this sight of the pattern is one that resets. On a connection that is about to end anyway it is only counted.
    pub(crate) fn fires(&mut self, is_doomed: bool) -> bool {
        self.seen += 1;
        if is_doomed {
            return false;
        }
        let is_due =
            self.fired < self.trigger.times && self.seen.is_multiple_of(self.trigger.skip.saturating_add(1));
        self.fired += usize::from(is_due);
        is_due
    }
}

/// The end of what went one way on one connection, because a pattern may come in two pieces.
#[derive(Debug, Default)]
pub(crate) struct Window(VecDeque<u8>);

impl Window {
    /// How often `pattern` ends within `bytes`.
    pub(crate) fn sights(&mut self, pattern: &[u8], bytes: &[u8]) -> usize {
        self.0.extend(bytes);
        let text = self.0.make_contiguous();
        let sights = text.windows(pattern.len().max(1)).filter(|window| *window == pattern).count();
        let keep = pattern.len().saturating_sub(1).min(text.len());
        let surplus = text.len() - keep;
        self.0.drain(..surplus);
        sights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_seen_once_however_it_is_cut() {
        let text = b"..COMMIT..COMMITCOMMIT.";
        for size in 1..text.len() {
            let mut window = Window::default();
            let sights: usize = text.chunks(size).map(|chunk| window.sights(b"COMMIT", chunk)).sum();
            assert_eq!(sights, 3, "in pieces of {size}");
        }
    }

    #[test]
    fn a_trigger_passes_over_some_and_ends() {
        let mut armed = Armed::new(Trigger::on(b"x").every(2).times(2));
        let fired: Vec<bool> = (0..9).map(|_| armed.fires(false)).collect();
        assert_eq!(fired, [false, false, true, false, false, true, false, false, false]);
        assert_eq!((armed.seen, armed.fired), (9, 2));
        let mut armed = Armed::new(Trigger::on(b"x"));
        assert!(!armed.fires(true) && armed.fires(false));
    }
}
