use std::collections::BTreeSet;

use auth_ids::Uuid;
use clock::random_bytes;
use lapin::types::{AMQPValue, FieldTable, LongString};

const PUBLISHER: &str = "x-publisher";
const NUMBER: &str = "x-number";
const SETTLED: &str = "x-settled";

/// Where a fact stands among those that were published over the same connection, so that its consumers notice one that never
/// arrives although the broker confirmed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    /// The publishing connection.
    pub publisher: Uuid,
    /// From 1.
    pub number: i64,
    /// Every number up to this one was confirmed by the broker before this message was published.
    pub settled: i64,
}

impl Sequence {
    pub(crate) fn write(self, headers: &mut FieldTable) {
        headers.insert(PUBLISHER.into(), AMQPValue::LongString(LongString::from(self.publisher.to_string())));
        headers.insert(NUMBER.into(), AMQPValue::LongLongInt(self.number));
        headers.insert(SETTLED.into(), AMQPValue::LongLongInt(self.settled));
    }

    pub(crate) fn read(headers: &FieldTable) -> Option<Self> {
        let integer = |name: &str| match headers.inner().get(name) {
            Some(AMQPValue::LongLongInt(integer)) => Some(*integer),
            _ => None,
        };
        let publisher = match headers.inner().get(PUBLISHER) {
            Some(AMQPValue::LongString(text)) => str::from_utf8(text.as_bytes()).ok()?.parse().ok()?,
            _ => return None,
        };
        let (number, settled) = (integer(NUMBER)?, integer(SETTLED)?);
        (number > settled && settled >= 0).then_some(Self { publisher, number, settled })
    }
}

/// Numbers the facts of a connection. The number of a message that the broker did not take is given to a later one, so that
/// every number arrives in the end, unless the connection breaks; then nobody was told that it is settled.
pub(crate) struct Numbering {
    publisher: Uuid,
    next: i64,
    given_back: BTreeSet<i64>,
}

impl Numbering {
    pub(crate) fn new() -> Self {
        let publisher = auth_ids::Uuid::from_bytes(random_bytes(&mut clock::secure_rng()));
        Self { publisher, next: 1, given_back: BTreeSet::new() }
    }

    /// Numbers for `count` messages that are published together.
    pub(crate) fn take(&mut self, count: usize) -> Vec<Sequence> {
        let settled = self.given_back.first().copied().unwrap_or(self.next) - 1;
        let numbers = (0..count).map(|_| {
            let number = self.given_back.pop_first().unwrap_or_else(|| {
                self.next += 1;
                self.next - 1
            });
            Sequence { publisher: self.publisher, number, settled }
        });
        numbers.collect()
    }

    /// The message with that number was not taken.
    pub(crate) fn give_back(&mut self, number: i64) {
        self.given_back.insert(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(taken: &[Sequence]) -> Vec<(i64, i64)> {
        taken.iter().map(|it| (it.number, it.settled)).collect()
    }

    #[test]
    fn a_number_that_was_not_taken_is_given_to_the_next_and_not_settled_before() {
        let mut numbering = Numbering::new();
        assert_eq!(numbers(&numbering.take(3)), [(1, 0), (2, 0), (3, 0)]);
        numbering.give_back(2);
        numbering.give_back(3);
        assert_eq!(numbers(&numbering.take(1)), [(2, 1)]);
        assert_eq!(numbers(&numbering.take(2)), [(3, 2), (4, 2)]);
        assert_eq!(numbers(&numbering.take(1)), [(5, 4)]);
    }

    #[test]
    fn a_sequence_is_read_as_it_was_written() {
        let sequence = Sequence { publisher: Uuid::max(), number: 7, settled: 5 };
        let mut headers = FieldTable::default();
        assert_eq!(Sequence::read(&headers), None);
        sequence.write(&mut headers);
        assert_eq!(Sequence::read(&headers), Some(sequence));
        Sequence { settled: 7, ..sequence }.write(&mut headers);
        assert_eq!(Sequence::read(&headers), None);
    }
}
