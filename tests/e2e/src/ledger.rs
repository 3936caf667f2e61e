//! What the platform promised, and what became of it: each acknowledged request leads to exactly one fact in the audit log, and to exactly
//! one mail.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::future::FutureExt;
use reqwest::{Client, StatusCode};
use test_support::{eventually, smtp::SmtpServer};

use crate::{Stack, crowd::Done, journey::registration};

/// Mails by their recipients: the `Message-ID`s of each.
pub type Mails = BTreeMap<String, Vec<String>>;

/// Registrations and what was said to them.
#[derive(Clone)]
pub struct Ledger {
    http: Client,
    url: String,
    /// In front of every address, so that a test may keep several.
    name: &'static str,
    promised: Arc<Mutex<BTreeMap<String, Instant>>>,
}

/// How promises and deeds compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// Acknowledged registrations.
    pub promised: usize,
    /// Of these, those that are in the audit log.
    pub audited: usize,
    /// Of these, those that are there more than once.
    pub audited_again: usize,
    /// Of these, those with a mail.
    pub mailed: usize,
    /// How many mails came beyond one for each.
    pub mailed_again: usize,
    /// Of these, those whose mails have more than one `Message-ID`.
    pub other_message_ids: usize,
}

impl Balance {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.audited == self.promised && self.mailed == self.promised
    }

    /// Whether nothing is missing, and nothing is there twice.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.is_complete() && self.audited_again == 0 && self.mailed_again == 0 && self.other_message_ids == 0
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} promised, {} audited ({} twice), {} with a mail ({} mails too many, {} with another Message-ID)",
            self.promised,
            self.audited,
            self.audited_again,
            self.mailed,
            self.mailed_again,
            self.other_message_ids
        )
    }
}

impl Ledger {
    /// A new one, whose addresses begin with `name`.
    #[must_use]
    pub fn new(stack: &Stack, name: &'static str) -> Self {
        let url = format!("{}/v1/auth/register", stack.variable("API_URL"));
        Self { http: Client::new(), url, name, promised: Arc::default() }
    }

    /// The address with a number. There are four domains, because a mail server is asked for few mails to each at once.
    #[must_use]
    pub fn address(&self, number: usize) -> String {
        format!("{}-{number}@host-{}.example", self.name, number % 4)
    }

    /// Registers the address with a number, and notes the promise if there is one.
    #[must_use]
    pub fn register(&self, number: usize) -> Done {
        let (ledger, email) = (self.clone(), self.address(number));
        async move {
            let sent = ledger.http.post(&ledger.url).json(&registration(&email)).send();
            let answer = sent.await.map_err(|error| format!("register: {error:?}"))?;
            if answer.status() != StatusCode::ACCEPTED {
                return Err(format!("register: {}", answer.status()));
            }
            ledger.promised.lock().unwrap().insert(email, Instant::now());
            Ok(())
        }
        .boxed()
    }

    /// Who was promised something, and when.
    #[must_use]
    pub fn promised(&self) -> BTreeMap<String, Instant> {
        self.promised.lock().unwrap().clone()
    }

    /// Compares promises and deeds as they are now.
    pub async fn balance(&self, stack: &Stack, mails: &Mails) -> Balance {
        let promised = self.promised();
        let audited = self.audited(stack).await;
        let of = |wanted: fn(usize) -> bool| {
            promised.keys().filter(|email| wanted(audited.get(*email).copied().unwrap_or(0))).count()
        };
        let mails: Vec<&Vec<String>> = promised.keys().filter_map(|email| mails.get(email)).collect();
        let distinct = |ids: &Vec<String>| ids.iter().collect::<BTreeSet<_>>().len();
        Balance {
            promised: promised.len(),
            audited: of(|count| count > 0),
            audited_again: of(|count| count > 1),
            mailed: mails.len(),
            mailed_again: mails.iter().map(|ids| ids.len() - 1).sum(),
            other_message_ids: mails.iter().filter(|ids| distinct(ids) > 1).count(),
        }
    }

    /// Waits until nothing is missing, or says what is.
    pub async fn settled(
        &self,
        stack: &Stack,
        mut mails: impl AsyncFnMut() -> Mails,
        patience: Duration,
    ) -> Balance {
        let end = Instant::now() + patience;
        loop {
            let balance = self.balance(stack, &mails().await).await;
            if balance.is_complete() || Instant::now() > end {
                return balance;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// How often each of our addresses is in the audit log as registered.
    async fn audited(&self, stack: &Stack) -> BTreeMap<String, usize> {
        let query = format!(
            "SELECT u.email || ' ' || count(*) FROM audit.events e JOIN auth.users u ON u.id = e.subject_id \
             WHERE e.type = 'user.registered' AND starts_with(u.email, '{}-') GROUP BY u.email",
            self.name
        );
        let rows = stack.sql(&query).await;
        let pairs = rows.iter().filter_map(|row| row.rsplit_once(' '));
        pairs.map(|(email, count)| (email.to_owned(), count.parse().unwrap())).collect()
    }
}

/// The mails that a server has, or that nobody knows whether it has.
#[must_use]
pub fn delivered(server: &SmtpServer) -> Mails {
    let mut mails = Mails::new();
    for mail in server.mails().into_iter().filter(test_support::smtp::ReceivedMail::is_delivered) {
        for to in mail.to {
            mails.entry(to).or_default().push(mail.message_id.clone().unwrap_or_default());
        }
    }
    mails
}

/// How many facts of a type are in the audit log, and how many of them are there again.
pub async fn audited(stack: &Stack, fact: &str) -> (usize, usize) {
    let query =
        format!("SELECT count(DISTINCT id) || ' ' || count(*) FROM audit.events WHERE type = '{fact}'");
    let row = stack.sql(&query).await.pop().unwrap_or_default();
    let (distinct, all) = row.split_once(' ').unwrap_or(("0", "0"));
    let (distinct, all): (usize, usize) = (distinct.parse().unwrap(), all.parse().unwrap());
    (distinct, all - distinct)
}

/// How long a look at the database lets it rest afterwards: each is a new connection, and a drill must not measure its own looking.
const REST: Duration = Duration::from_millis(250);

/// The schemas that have an outbox.
pub const SENDERS: [&str; 2] = ["auth", "session"];

/// How many messages wait in the outboxes of both services.
pub async fn in_outboxes(stack: &Stack) -> usize {
    in_outboxes_of(stack, &SENDERS).await
}

/// How many messages wait in the outboxes of some schemas.
pub async fn in_outboxes_of(stack: &Stack, schemas: &[&str]) -> usize {
    let counts = schemas.iter().map(|schema| format!("(SELECT count(*) FROM {schema}.outbox)"));
    let count = stack.sql(&format!("SELECT {}", counts.collect::<Vec<_>>().join(" + "))).await;
    count.first().and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// Waits until no more than `few` messages are in the outboxes of some schemas, as long as others keep coming, and tells how many are.
pub async fn outboxes_have_at_most(stack: &Stack, schemas: &[&str], few: usize, patience: Duration) -> usize {
    eventually("everything in the outboxes was sent", patience, || async {
        let left = in_outboxes_of(stack, schemas).await;
        if left <= few {
            return Some(left);
        }
        tokio::time::sleep(REST).await;
        None
    })
    .await
}

/// Waits until both outboxes are empty.
pub async fn outboxes_are_empty(stack: &Stack, patience: Duration) {
    outboxes_have_at_most(stack, &SENDERS, 0, patience).await;
}
