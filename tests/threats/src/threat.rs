use crate::csv;

/// Which command runs the tests of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// `make test`, for every change.
    EveryChange,
    /// `make soak`, every night.
    Nightly,
}

impl Tier {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "PR" => Ok(Self::EveryChange),
            "nightly" => Ok(Self::Nightly),
            other => Err(format!("there is no tier {other}")),
        }
    }

    /// The command.
    #[must_use]
    pub fn command(self) -> &'static str {
        match self {
            Self::EveryChange => "make test",
            Self::Nightly => "make soak",
        }
    }
}

/// One attack, and what must come of it.
#[derive(Debug, Clone)]
pub struct Threat {
    /// For example `REG-04`.
    pub id: String,
    /// What somebody tries.
    pub attack: String,
    /// What we do.
    pub expected: String,
    /// `H`, `M` or `L`.
    pub severity: String,
    /// Where its test runs.
    pub tier: Tier,
}

/// A row without a test.
#[derive(Debug, Clone)]
pub struct Exception {
    /// The id of the row.
    pub id: String,
    /// Why it has no test.
    pub reason: String,
}

/// The rows of `security/threats.csv`.
pub fn threats(text: &str) -> Result<Vec<Threat>, String> {
    let records = csv::records(text, "id,attack,expected_behaviour,severity,tier")?;
    let parse = |record: Vec<String>| -> Result<Threat, String> {
        let Ok([id, attack, expected, severity, tier]) = <[String; 5]>::try_from(record) else {
            return Err("a row has not five fields".to_owned());
        };
        let tier = Tier::parse(&tier)?;
        Ok(Threat { id, attack, expected, severity, tier })
    };
    records.into_iter().map(parse).collect()
}

/// The rows of `security/exceptions.csv`.
pub fn exceptions(text: &str) -> Result<Vec<Exception>, String> {
    let records = csv::records(text, "id,reason")?;
    let parse = |record: Vec<String>| match <[String; 2]>::try_from(record) {
        Ok([id, reason]) if reason.len() > 10 => Ok(Exception { id, reason }),
        _ => Err("an exception has no reason".to_owned()),
    };
    records.into_iter().map(parse).collect()
}
