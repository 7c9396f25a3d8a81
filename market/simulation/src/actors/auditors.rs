//! Auditors and accusers: they vouch for providers, and bring what checkers and providers signed.

use cairn_ledger::scores::checks::CheckTask;
use cairn_ledger::scores::receipts::{CheckFailure, CheckReceipt, CheckResult, SignedCheckReceipt};
use cairn_ledger::served::{ServedGroup, WrongBytes};
use cairn_ledger::testing::PieceTree;
use cairn_ledger::{Attributes, CheckCommand, Command, MarketCommand, ServingKey};
use cairn_protocol::ProviderId;

use super::Actor;
use crate::random::Random;
use crate::world::{AccountIndex, Crime, KeyPair, Offers, View};

/// Values of the attribute `disk`, which orders ask for.
pub const DISKS: [&str; 2] = ["nvme", "tape"];
/// Values of the region, which copies must not share.
pub const REGIONS: [&str; 3] = ["eu", "us", "as"];

/// Some attributes; none now and then, which takes back what was said before.
pub(super) fn some_attributes(random: &mut Random) -> Attributes {
    let (has_disk, has_region) = (random.chance(900), random.chance(400));
    let disk = random.pick(&DISKS).map(|disk| ("disk", *disk)).filter(|_| has_disk);
    let region = random.pick(&REGIONS).map(|region| ("region", *region)).filter(|_| has_region);
    Attributes::new(disk.into_iter().chain(region))
}

/// Vouches for providers, mostly for what they say, and takes its word back.
pub struct Auditor {
    name: String,
    account: AccountIndex,
}

impl Auditor {
    pub(super) fn new(number: u32, account: AccountIndex) -> Self {
        Self { name: format!("auditor-{number}"), account }
    }
}

impl Actor for Auditor {
    fn name(&self) -> &str {
        &self.name
    }

    fn act(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let providers: Vec<ProviderId> = view.board.owners.keys().copied().collect();
        let speaks = random.chance(120);
        let Some(&provider) = random.pick(&providers).filter(|_| speaks) else { return };
        let attributes = match random.below(8) {
            0 => Attributes::default(),
            1 => some_attributes(random),
            _ => view.state.attributes_of(provider),
        };
        offers.command(self.account, Command::Market(MarketCommand::SignAttributes { provider, attributes }));
    }
}

/// Brings receipts that contradict each other, and receipts that only look as if.
pub struct Accuser {
    account: AccountIndex,
}

impl Accuser {
    pub(super) fn new(account: AccountIndex) -> Self {
        Self { account }
    }
}

fn receipt(view: &View<'_>, pair: &KeyPair, slot: u32, failure: CheckFailure) -> CheckReceipt {
    let round = view.params().economy.rounds.round_at(view.next_epoch());
    let (provider, root) = (ProviderId(1_000), cid::Cid::default());
    let task = CheckTask { round, checker: pair.address, slot, provider, root, point: 0, length: 1 };
    CheckReceipt { task, result: CheckResult::Failed(failure) }
}

impl Actor for Accuser {
    fn name(&self) -> &str {
        "accuser"
    }

    fn act(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let with_stake = view.keys.iter().filter(|pair| view.state.checker(&pair.address).is_some());
        let checkers: Vec<&KeyPair> = with_stake.collect();
        let speaks = random.chance(60);
        let Some(&accused) = random.pick(&checkers).filter(|_| speaks) else { return };
        let chain = view.state.chain();
        let signed = |slot, failure| receipt(view, accused, slot, failure).sign(chain, &accused.key);
        let first = signed(1, CheckFailure::Stalled);
        let report = |second: SignedCheckReceipt| {
            let (first, second) = (Box::new(first.clone()), Box::new(second));
            Command::Check(CheckCommand::ReportContradiction { first, second })
        };
        // A lie is rare. What the accuser makes up is not.
        let false_one = match random.below(8) {
            0 => return offers.command(self.account, report(signed(1, CheckFailure::Unreachable))),
            1 | 2 => first.clone(),
            3 | 4 => signed(2, CheckFailure::Unreachable),
            _ => {
                let own = &view.keys[self.account];
                let mut forged = receipt(view, own, 1, CheckFailure::Refused(500)).sign(chain, &own.key);
                forged.receipt.task.checker = accused.address;
                forged
            }
        };
        offers.crime(self.account, report(false_one), Crime::FalseAccusation);
    }
}

/// Reads from providers, some of whom sign for wrong bytes, and accuses others of it too.
pub struct Reader {
    account: AccountIndex,
}

impl Reader {
    pub(super) fn new(account: AccountIndex) -> Self {
        Self { account }
    }
}

impl Actor for Reader {
    fn name(&self) -> &str {
        "reader"
    }

    fn act(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let owners: Vec<_> = view.board.owners.iter().map(|(provider, owner)| (*provider, *owner)).collect();
        let speaks = random.chance(40);
        let Some(&(provider, owner)) = random.pick(&owners).filter(|_| speaks) else { return };
        let Some(pair) = view.keys.iter().find(|pair| pair.address == owner) else { return };
        let (chain, tree, group) = (view.state.chain(), PieceTree::new(random.below(3) as u8, 2), random.below(4));
        let (right, wrong) =
            (tree.served(provider, group, view.state.epoch()), tree.served_wrong(provider, group, view.state.epoch()));
        let report = |evidence: WrongBytes| Command::ReportWrongBytes(Box::new(evidence));
        // Half of the gateways sign with a key of their own, which has the owner's leave; the reader gives itself one.
        let own = &view.keys[self.account];
        let leave = ServingKey { provider, key: own.address, until: view.state.epoch() };
        let by_owner = |statement: ServedGroup| match group % 2 {
            0 => statement.sign(chain, &pair.key),
            _ => statement.sign_by_leave(chain, &own.key, leave.sign(chain, &pair.key)),
        };
        // Wrong bytes are rare; the same ones are brought again now and then. What the reader makes up is not rare.
        let false_one = match random.below(8) {
            0 => {
                let command = report(tree.evidence(by_owner(wrong)));
                return offers.command(self.account, command);
            }
            1 | 2 => tree.evidence(by_owner(right)),
            3 => tree.evidence(wrong.sign(chain, &own.key)),
            4 => tree.evidence(wrong.sign_by_leave(chain, &own.key, leave.sign(chain, &own.key))),
            5 => {
                let mut changed = tree.evidence(by_owner(right));
                changed.signed.statement.root = wrong.root;
                changed
            }
            _ => WrongBytes { signed: by_owner(wrong), proof: tree.prove((group + 1) % 4, 1) },
        };
        offers.crime(self.account, report(false_one), Crime::FalseAccusation);
    }
}
