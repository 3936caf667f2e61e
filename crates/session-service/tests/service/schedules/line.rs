//! What may become of a session's refresh tokens, told by the answers alone.

use std::time::Duration;

use auth_proto::session::v1::Tokens;
use base64::prelude::*;
use chrono::{DateTime, TimeDelta, Utc};
use tonic::{Code, Status};

use crate::harness::reason;

const SAME_CHILD: TimeDelta = TimeDelta::seconds(10);
const BURST: TimeDelta = TimeDelta::seconds(1);
const LOST_ANSWER: TimeDelta = TimeDelta::minutes(10);

/// A pair as its holder has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    pub generation: u64,
    pub refresh: String,
    pub access: String,
}

impl From<Tokens> for Pair {
    fn from(tokens: Tokens) -> Self {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&tokens.refresh_token[4..]).unwrap();
        let generation = u64::from_be_bytes(bytes[17..25].try_into().unwrap());
        Self { generation, refresh: tokens.refresh_token, access: tokens.access_token }
    }
}

/// What the service said to a token of the generation `presented`.
pub struct Answer {
    pub presented: u64,
    pub result: Result<Pair, Refusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Reused,
    Ended,
}

impl Refusal {
    pub fn of(status: &Status) -> Self {
        match reason(status) {
            (Code::Unauthenticated, reason) if reason == "refresh_token_reused" => Self::Reused,
            (Code::Unauthenticated, reason) if reason == "session_ended" => Self::Ended,
            other => panic!("{other:?}: {status}"),
        }
    }
}

/// The one line of a session.
pub struct Line {
    pub current: Pair,
    parent: u64,
    born: DateTime<Utc>,
    handed_out: DateTime<Utc>,
    /// Whether the service knows that the current generation arrived.
    pub seen: bool,
    /// Whether a token came back that nobody honest holds.
    pub over: bool,
}

impl Line {
    pub fn begin(first: Pair, now: DateTime<Utc>) -> Self {
        Self { current: first, parent: 0, born: now, handed_out: now, seen: false, over: false }
    }

    /// Takes the answers to calls that were under way together, all at `now`.
    pub fn extend(&mut self, mut answers: Vec<Answer>, now: DateTime<Utc>) -> Result<(), String> {
        let was_over = self.over;
        if let [only] = answers.as_slice() {
            let expected = self.expected(only.presented, now);
            let got = only.result.as_ref().map(|pair| pair.generation).map_err(|refusal| *refusal);
            if got != expected {
                return Err(format!("generation {} got {got:?} and not {expected:?}", only.presented));
            }
        }
        self.over |= answers.iter().any(|answer| answer.result == Err(Refusal::Reused));
        let ended = answers.iter().any(|answer| answer.result == Err(Refusal::Ended));
        if ended && !self.over {
            return Err("a session has ended and no token was used again".to_owned());
        }
        // In the order in which the service must have decided.
        answers.sort_by_key(|answer| answer.result.as_ref().map_or(u64::MAX, |pair| pair.generation));
        for Answer { presented, result } in answers {
            let Ok(pair) = result else { continue };
            if was_over {
                return Err(format!("generation {presented} was answered after the end"));
            }
            self.add(presented, pair, now)?;
        }
        Ok(())
    }

    /// What a call that is alone must get.
    fn expected(&self, presented: u64, now: DateTime<Utc>) -> Result<u64, Refusal> {
        if self.over {
            Err(Refusal::Ended)
        } else if presented == self.current.generation {
            Ok(presented + 1)
        } else if presented == self.parent && now - self.handed_out <= SAME_CHILD {
            Ok(self.current.generation)
        } else if presented == self.parent && !self.seen && now - self.born <= LOST_ANSWER {
            Ok(self.current.generation + 1)
        } else {
            Err(Refusal::Reused)
        }
    }

    fn add(&mut self, presented: u64, pair: Pair, now: DateTime<Utc>) -> Result<(), String> {
        let told = format!(
            "generation {presented} got {} when {} was current",
            pair.generation, self.current.generation
        );
        if self.expected_when_live(presented, now) != Some(pair.generation) {
            return Err(told);
        }
        if pair.generation == self.current.generation {
            // Who has seen it has it, and gains no time any more; a burst of tabs is one hand-out.
            if !self.seen && now - self.handed_out > BURST {
                self.handed_out = now;
            }
            return if pair == self.current { Ok(()) } else { Err(format!("{told}, and another pair")) };
        }
        let over = self.over;
        *self = Self { current: pair, parent: presented, born: now, handed_out: now, seen: false, over };
        Ok(())
    }

    fn expected_when_live(&self, presented: u64, now: DateTime<Utc>) -> Option<u64> {
        let live = Self { current: self.current.clone(), over: false, ..*self };
        live.expected(presented, now).ok()
    }
}

/// The longest that an honest client waits before it comes back for an answer that it did not get.
pub const PATIENCE: Duration = Duration::from_secs(595);
