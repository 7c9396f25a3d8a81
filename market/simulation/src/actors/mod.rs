//! Who acts: honest members with their accidents, and adversaries. Each has randomness of its own, so leaving one out
//! does not change what the others would choose.

mod adversaries;
mod auditors;
mod clients;
mod economy;
mod jobs;
mod providers;
mod validators;

use crate::random::Random;
use crate::world::{AccountIndex, Offers, View};

pub use providers::Habits;

/// One who acts in every block.
pub trait Actor {
    /// Name in reports and on the command line.
    fn name(&self) -> &str;

    /// Offers transactions to the next block.
    fn act(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>);
}

/// An actor with its own stream of randomness.
pub struct Member {
    /// Who.
    pub actor: Box<dyn Actor>,
    random: Random,
}

impl Member {
    /// Lets it offer.
    pub fn act(&mut self, view: &View<'_>, offers: &mut Offers<'_>) {
        self.actor.act(view, &mut self.random, offers);
    }
}

/// Makes actors and gives each the next account.
struct Casting {
    seed: u64,
    members: Vec<Member>,
}

impl Casting {
    fn add<A: Actor + 'static>(&mut self, make: impl FnOnce(AccountIndex) -> A) {
        let account = self.members.len();
        let random = Random::fork(self.seed, account as u64 + 1);
        self.members.push(Member { actor: Box::new(make(account)), random });
    }
}

/// Everybody, in the order of their accounts: member `n` owns account `n`.
pub fn cast(seed: u64) -> Vec<Member> {
    let mut casting = Casting { seed, members: Vec::new() };
    for n in 1..=4 {
        casting.add(|account| clients::Client::new(n, account));
    }
    casting.add(clients::DustOrderer::new);
    for (name, habits) in Habits::all() {
        casting.add(|account| providers::ProviderActor::new(name, account, habits));
    }
    for n in 1..=2 {
        casting.add(|account| validators::ValidatorActor::new(n, account));
    }
    casting.add(adversaries::Replayer::new);
    casting.add(adversaries::Forger::new);
    casting.add(adversaries::DoubleSpender::new);
    casting.add(adversaries::Thief::new);
    casting.add(adversaries::VoucherCheat::new);
    casting.add(adversaries::Spammer::new);
    casting.add(jobs::JobPoster::new);
    casting.add(|account| jobs::JobWorker::new("worker-1", account, 0));
    casting.add(|account| jobs::JobWorker::new("worker-2", account, 0));
    casting.add(|account| jobs::JobWorker::new("bad-worker", account, 800));
    casting.add(economy::RailPayer::new);
    for (name, habit) in economy::CheckerHabit::all() {
        casting.add(|account| economy::CheckerActor::new(name, account, habit));
    }
    for n in 1..=2 {
        casting.add(|account| auditors::Auditor::new(n, account));
    }
    casting.add(auditors::Accuser::new);
    casting.add(auditors::Reader::new);
    casting.members
}

/// Names of everybody in [`cast`].
pub fn names() -> Vec<String> {
    cast(0).iter().map(|member| member.actor.name().to_owned()).collect()
}
