//! The network of a validator that says two things at once, for tests: before each vote or proposal of its own goes out, one
//! for another block does, over the same connections. So everybody who hears the second has heard the first, on a machine
//! of any speed.

use arc_malachitebft_app_channel::NetworkMsg;
use arc_malachitebft_app_channel::app::engine::network::{Msg, NetworkRef};
use arc_malachitebft_core_consensus::SignedConsensusMsg;
use arc_malachitebft_core_types::NilOrVal;
use arc_malachitebft_signing::Signer;
use async_trait::async_trait;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;

use crate::block::BlockId;
use crate::engine::context::{Context, Proposal, Vote};
use crate::engine::signing::KeySigner;

/// What a liar says twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SaidTwice {
    Votes,
    Proposals,
}

/// A block that nobody has made.
const ANOTHER: BlockId = BlockId([0xee; 32]);

struct Liar {
    said_twice: SaidTwice,
    signer: KeySigner,
    /// What it lies over.
    network: NetworkRef<Context>,
}

impl Liar {
    async fn contradiction(&self, message: &SignedConsensusMsg<Context>) -> Option<SignedConsensusMsg<Context>> {
        match (self.said_twice, message) {
            (SaidTwice::Votes, SignedConsensusMsg::Vote(vote)) => {
                let other = Vote { block: NilOrVal::Val(ANOTHER), ..vote.message.clone() };
                Some(SignedConsensusMsg::Vote(self.signer.sign_vote(other).await.ok()?))
            }
            (SaidTwice::Proposals, SignedConsensusMsg::Proposal(proposal)) => {
                let other = Proposal { block: ANOTHER, ..proposal.message.clone() };
                Some(SignedConsensusMsg::Proposal(self.signer.sign_proposal(other).await.ok()?))
            }
            _ => None,
        }
    }
}

#[async_trait]
impl Actor for Liar {
    type Msg = Msg<Context>;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, message: Self::Msg, (): &mut ()) -> Result<(), ActorProcessingErr> {
        if let Msg::PublishConsensusMsg(said) = &message
            && let Some(contradiction) = self.contradiction(said).await
        {
            self.network.cast(Msg::PublishConsensusMsg(contradiction))?;
        }
        Ok(self.network.cast(message)?)
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        self.network.stop(None);
        Ok(())
    }
}

/// Stands between the engine and its network.
pub(crate) async fn before(
    said_twice: SaidTwice,
    signer: KeySigner,
    (network, sender): (NetworkRef<Context>, mpsc::Sender<NetworkMsg<Context>>),
) -> Result<(NetworkRef<Context>, mpsc::Sender<NetworkMsg<Context>>), ractor::SpawnErr> {
    let (actor, _) = Actor::spawn(None, Liar { said_twice, signer, network }, ()).await?;
    Ok((actor, sender))
}
