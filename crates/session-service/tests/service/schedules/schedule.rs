//! One session, its owner, and in half of the schedules a thief. At the end of a schedule the owner refreshes once more if there is no thief; otherwise the two
//! refresh in turns, each outside of the other's grace, and the third call at the latest must find that the session has ended.

use std::fmt;

use auth_proto::session::v1::ValidateRequest;
use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    World,
    line::{Answer, Line, Pair, Refusal},
    owner::{Fate, Owner},
    plan::{FINISHING, Plan, Round},
    thief::Thief,
};
use crate::harness::{new_user, now};

/// An error says what was violated.
pub type Outcome = Result<(), String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Party {
    Owner,
    Thief,
}

type Calls = Vec<(Party, Pair, Fate)>;

pub struct Schedule {
    seed: u64,
    index: usize,
    rng: StdRng,
    pub session: String,
    line: Line,
    owner: Owner,
    thief: Option<Thief>,
    /// In how many rounds the thief comes.
    theft_in: Option<usize>,
    owner_finishes_first: bool,
    looked_at: Option<u64>,
    steps: Vec<String>,
}

impl Schedule {
    pub async fn begin(world: &World, seed: u64, index: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed.rotate_left(32) ^ u64::try_from(index).unwrap());
        let replica = &world.replicas[0];
        let request = crate::harness::login(&new_user());
        let answer = replica.client.clone().create_session(request).await.unwrap().into_inner();
        let pair = Pair::from(answer.tokens.unwrap());
        Self {
            seed,
            index,
            session: answer.session.unwrap().id,
            line: Line::begin(pair.clone(), now(replica)),
            owner: Owner::new(pair),
            thief: None,
            theft_in: rng.random_bool(0.5).then(|| Plan::random_round(&mut rng)),
            owner_finishes_first: rng.random(),
            rng,
            looked_at: None,
            steps: Vec::new(),
        }
    }

    pub fn is_over(&self) -> bool {
        self.line.over
    }

    pub async fn play(&mut self, world: &World, round: &Round) -> Outcome {
        self.steps.push(format!("{} s pass", round.gap));
        if self.theft_in == Some(0) {
            self.steps.push(format!("a thief copies generation {}", self.owner.pair.generation));
            self.thief = Some(Thief::new(self.owner.pair.clone()));
        }
        self.theft_in = self.theft_in.and_then(|rounds| rounds.checked_sub(1));
        if let Some(turn) = round.finishing {
            return self.play_to_the_end(world, turn).await;
        }
        let at = now(&world.replicas[0]);
        let owner = self.owner.calls(&mut self.rng, round, at);
        let owner: Calls = owner.into_iter().map(|(pair, fate)| (Party::Owner, pair, fate)).collect();
        let thief = self.thief.as_mut().map(|thief| thief.calls(&mut self.rng)).unwrap_or_default();
        let thief: Calls = thief.into_iter().map(|(pair, fate)| (Party::Thief, pair, fate)).collect();
        match self.rng.random_range(0..3) {
            0 => {
                self.call(world, owner).await?;
                self.call(world, thief).await
            }
            1 => {
                self.call(world, thief).await?;
                self.call(world, owner).await
            }
            _ => self.call(world, [owner, thief].concat()).await,
        }
    }

    async fn play_to_the_end(&mut self, world: &World, turn: usize) -> Outcome {
        let owners_turn = self.owner_finishes_first == turn.is_multiple_of(2);
        let calls: Calls = match &mut self.thief {
            None if turn > 0 => return Ok(()),
            Some(thief) if !owners_turn => {
                thief.refresh().into_iter().map(|(pair, fate)| (Party::Thief, pair, fate)).collect()
            }
            _ => self.owner.refresh().into_iter().map(|(pair, fate)| (Party::Owner, pair, fate)).collect(),
        };
        self.call(world, calls).await?;
        if turn + 1 == FINISHING && self.thief.is_some() && !self.line.over {
            return Err("thief and owner both went on".to_owned());
        }
        Ok(())
    }

    /// Makes calls that are under way together.
    async fn call(&mut self, world: &World, calls: Calls) -> Outcome {
        if calls.is_empty() {
            return Ok(());
        }
        let at = now(&world.replicas[0]);
        let under_way: Vec<_> = calls
            .iter()
            .map(|(party, pair, fate)| {
                let replica = self.rng.random_range(0..world.replicas.len());
                self.steps
                    .push(format!("{party:?} presents {} at replica {replica}: {fate:?}", pair.generation));
                world.replicas[replica].refresh(&pair.refresh)
            })
            .collect();
        let results = join_all(under_way).await;
        let results: Vec<Result<Pair, Refusal>> = results
            .into_iter()
            .map(|result| result.map(Pair::from).map_err(|status| Refusal::of(&status)))
            .collect();
        let got: Vec<_> = results.iter().map(|it| it.as_ref().map(|pair| pair.generation)).collect();
        self.steps.push(format!("  … {got:?}"));

        let undisturbed = self.thief.as_ref().is_none_or(|thief| !thief.has_acted);
        for ((party, _, fate), result) in calls.iter().zip(&results) {
            match (result, party) {
                (Err(_), _) if undisturbed => return Err("an honest client is logged out".to_owned()),
                (Ok(pair), Party::Owner) if *fate == Fate::Answered => self.owner.got(pair),
                (Ok(pair), Party::Thief) if *fate == Fate::Answered => {
                    self.thief.iter_mut().for_each(|thief| thief.got(pair));
                }
                _ => {}
            }
        }
        let answers = calls
            .iter()
            .zip(results)
            .map(|((_, pair, _), result)| Answer { presented: pair.generation, result });
        self.line.extend(answers.collect(), at)
    }

    /// One of the two uses an access token, or none of them.
    pub async fn look(&mut self, world: &World) -> Outcome {
        let (party, pair) = match (self.rng.random_range(0..4), &self.thief) {
            (0, _) => return Ok(()),
            (1, Some(thief)) => (Party::Thief, &thief.pair),
            _ => (Party::Owner, &self.owner.pair),
        };
        let replica = self.rng.random_range(0..world.replicas.len());
        self.steps
            .push(format!("{party:?} uses the access token of {} at replica {replica}", pair.generation));
        let active = is_active(world, replica, &pair.access).await;
        if active && self.line.over {
            return Err("an access token is good after the end".to_owned());
        }
        // The token of another generation tells nothing about the current one.
        self.looked_at = (active && *pair == self.line.current).then_some(pair.generation);
        Ok(())
    }

    /// The session, if its current generation was used and the service is about to know it.
    pub fn expected_to_be_seen(&self) -> Option<&str> {
        self.looked_at.map(|_| self.session.as_str())
    }

    /// The service knows.
    pub fn looked(&mut self) {
        self.line.seen |= self.looked_at.take().is_some();
    }

    /// Nothing is good of a session that has ended, and everything newest of one that has not.
    pub async fn finish(&mut self, world: &World) -> Outcome {
        let thief = self.thief.as_ref().map(|thief| &thief.pair);
        for pair in thief.into_iter().chain([&self.owner.pair]) {
            let replica = self.rng.random_range(0..world.replicas.len());
            if is_active(world, replica, &pair.access).await == self.line.over {
                return Err(format!("the access token of {} is judged wrongly", pair.generation));
            }
        }
        Ok(())
    }
}

/// As the database knows it.
async fn is_active(world: &World, replica: usize, access_token: &str) -> bool {
    let request = ValidateRequest {
        access_token: access_token.to_owned(),
        authoritative: true,
        ..ValidateRequest::default()
    };
    world.replicas[replica].client.clone().validate(request).await.unwrap().into_inner().active
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Session {}; again with SCHEDULES_SEED={} SCHEDULES={}",
            self.session,
            self.seed,
            self.index + 1
        )?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}
