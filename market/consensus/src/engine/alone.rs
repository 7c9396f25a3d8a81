//! The network of a validator that is alone: it hears nothing and drops what it is given.
//!
//! The engine starts when its network listens, so this one says that it does. A node without peers thus opens no port and
//! runs no transport, and everything above the transport is the same.

use arc_malachitebft_app_channel::NetworkMsg;
use arc_malachitebft_app_channel::app::engine::network::{Msg, Multiaddr, NetworkEvent, NetworkRef};
use async_trait::async_trait;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;

use crate::engine::context::Context;

struct Alone;

#[async_trait]
impl Actor for Alone {
    type Msg = Msg<Context>;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, message: Self::Msg, (): &mut ()) -> Result<(), ActorProcessingErr> {
        if let Msg::Subscribe(subscriber) = message {
            subscriber.send(NetworkEvent::Listening(Multiaddr::empty()));
        }
        Ok(())
    }
}

/// Starts it; what is sent into the channel is dropped.
pub(crate) async fn spawn() -> Result<(NetworkRef<Context>, mpsc::Sender<NetworkMsg<Context>>), ractor::SpawnErr> {
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::spawn(async move { while receiver.recv().await.is_some() {} });
    let (actor, _) = Actor::spawn(None, Alone, ()).await?;
    Ok((actor, sender))
}
