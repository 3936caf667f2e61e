//! What users do all day, noted so that it can be compared with what the platform made of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use e2e::{
    Stack,
    balancer::Balancer,
    crowd::{Crowd, Done},
    ledger::{self, Balance, Ledger},
    traffic::{Answer, problems},
};
use futures::FutureExt;
use test_support::smtp::SmtpServer;

use crate::timing::percentile;

/// As many as a user may have.
const SESSIONS: usize = 20;
const REFRESHED: &str = "session.refreshed";

/// What a user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// An account.
    Register,
    /// What the platform knows of them.
    Read,
    /// A new access token.
    Refresh,
}

impl Wish {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Register, Self::Read, Self::Refresh];

    /// What the request with a number is for: of twenty, one registers, seven read and twelve refresh.
    #[must_use]
    pub fn of(number: usize) -> Self {
        match number % 20 {
            0 => Self::Register,
            1..8 => Self::Read,
            _ => Self::Refresh,
        }
    }
}

/// Registrations, refreshes and reads. A registration promises a mail and a fact, a refresh a fact.
pub struct Life {
    /// The registrations.
    pub ledger: Ledger,
    crowd: Crowd,
    balancer: Balancer,
    registrations: AtomicUsize,
    refreshed: Arc<AtomicUsize>,
    /// Refreshes without a good answer, of which nobody knows whether they happened.
    unknown: Arc<AtomicUsize>,
}

impl Life {
    /// One user with many sessions, whom `SEED_USERS` made, and newcomers.
    pub async fn begin(stack: &Stack) -> Self {
        let crowd = Crowd::seeded(stack, SESSIONS).await;
        Self {
            ledger: Ledger::new(stack, "drill"),
            crowd,
            balancer: Balancer::of_one(stack),
            registrations: AtomicUsize::new(0),
            refreshed: Arc::default(),
            unknown: Arc::default(),
        }
    }

    /// The request with a number, for what [`Wish::of`] says.
    #[must_use]
    pub fn request(&self, number: usize) -> Done {
        // In each round of twenty a session makes another kind of request: one that only reads has no token after five minutes.
        let session = number + number / 20;
        match Wish::of(number) {
            Wish::Register => self.ledger.register(self.registrations.fetch_add(1, Ordering::Relaxed)),
            Wish::Read => self.crowd.me(session, &self.balancer),
            Wish::Refresh => {
                let (refreshed, unknown) = (Arc::clone(&self.refreshed), Arc::clone(&self.unknown));
                let refresh = self.crowd.refresh(session, &self.balancer);
                async move {
                    let answer = refresh.await;
                    let count = if answer.is_ok() { refreshed } else { unknown };
                    count.fetch_add(1, Ordering::Relaxed);
                    answer
                }
                .boxed()
            }
        }
    }

    /// How many facts refreshes have promised.
    #[must_use]
    pub fn refreshed(&self) -> usize {
        self.refreshed.load(Ordering::Relaxed)
    }

    /// Waits until every promise is kept, or `patience` is over: the registrations, and how many refreshes are audited and how many of
    /// them twice.
    pub async fn settled(
        &self,
        stack: &Stack,
        smtp: &SmtpServer,
        patience: Duration,
    ) -> (Balance, usize, usize) {
        let end = Instant::now() + patience;
        let balance = self.ledger.settled(stack, async || ledger::delivered(smtp), patience).await;
        loop {
            let (audited, twice) = ledger::audited(stack, REFRESHED).await;
            if audited >= self.refreshed() || Instant::now() > end {
                return (balance, audited, twice);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Checks that every promise is kept, and none twice, and says so in a line.
    ///
    /// # Panics
    /// When that is not so.
    pub async fn is_in_order(&self, drill: &str, stack: &Stack, smtp: &SmtpServer, patience: Duration) {
        let (balance, audited, twice) = self.settled(stack, smtp, patience).await;
        println!("{drill}: {balance}; {} refreshes, {audited} audited ({twice} twice)", self.refreshed());
        assert!(balance.is_exact(), "{balance}");
        let possible = self.refreshed()..=self.refreshed() + self.unknown.load(Ordering::Relaxed);
        assert!(possible.contains(&audited) && twice == 0, "{audited} audited, {twice} of them twice");
    }
}

/// Checks that every request got the answer that its sender wanted.
///
/// # Panics
/// When one did not.
pub fn all_are_answered(answers: &[Answer]) {
    assert_eq!(problems(answers), Vec::<&str>::new());
}

/// The median and the 95th percentile of how long answers took.
#[must_use]
pub fn latencies<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> (Duration, Duration) {
    let took: Vec<Duration> = answers.into_iter().map(|answer| answer.took).collect();
    (percentile(&took, 50), percentile(&took, 95))
}
