//! Validators: they stake more or less, from block to block.

use cairn_ledger::Command;
use cairn_ledger::validator::POWER_UNIT;
use cairn_protocol::Amount;

use super::Actor;
use crate::random::Random;
use crate::world::{AccountIndex, Offers, View};

/// A validator's owner.
pub struct ValidatorActor {
    name: String,
    account: AccountIndex,
}

impl ValidatorActor {
    pub(super) fn new(number: u32, account: AccountIndex) -> Self {
        Self { name: format!("validator-{number}"), account }
    }
}

impl Actor for ValidatorActor {
    fn name(&self) -> &str {
        &self.name
    }

    fn act(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let own = view.keys[self.account].address;
        let staked = view.state.validator(&own).map_or(Amount::ZERO, |validator| validator.stake);
        if random.chance(40) {
            let amount = Amount(POWER_UNIT.0 * random.between(1, 50) + random.below(3));
            offers.command(self.account, Command::Bond { amount });
        }
        if random.chance(40) && !staked.is_zero() {
            // All of it now and then, sometimes more than there is.
            let amount = if random.chance(200) { staked } else { Amount(random.between(1, staked.0 + staked.0 / 10)) };
            offers.command(self.account, Command::Unbond { amount });
        }
    }
}
