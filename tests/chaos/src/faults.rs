use std::time::Duration;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    FromServer,
}

impl Direction {
    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::ToServer => Self::FromServer,
            Self::FromServer => Self::ToServer,
        }
    }
}

/// What is wrong with a network, as long as it is. It can be changed at any time, and what is on its way notices.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Faults {
    /// How much later bytes arrive at the server, in milliseconds.
    pub latency_to_server_ms: u64,
    /// How much later bytes arrive at the client, in milliseconds.
    pub latency_from_server_ms: u64,
    /// How many bytes a second pass in each direction; 0 is no limit.
    pub bytes_per_second: u64,
    /// Bytes wait, and pass when this is over. Nobody's connection ends.
    pub held: bool,
    /// Bytes are lost, as in a network that swallows packets: a connection that has met this never speaks again, and new ones are
    /// accepted and say nothing.
    pub silent: bool,
}

impl Faults {
    /// Bytes arrive later, in both directions.
    #[must_use]
    pub fn latency(latency: Duration) -> Self {
        let ms = in_ms(latency);
        Self { latency_to_server_ms: ms, latency_from_server_ms: ms, ..Self::default() }
    }

    /// Answers arrive later.
    #[must_use]
    pub fn slow_answers(latency: Duration) -> Self {
        Self { latency_from_server_ms: in_ms(latency), ..Self::default() }
    }

    /// So many bytes a second pass in each direction.
    #[must_use]
    pub fn throughput(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, ..Self::default() }
    }

    pub(crate) fn delay(&self, direction: Direction) -> Duration {
        Duration::from_millis(match direction {
            Direction::ToServer => self.latency_to_server_ms,
            Direction::FromServer => self.latency_from_server_ms,
        })
    }
}

fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
