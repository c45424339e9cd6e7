//! A bounded channel of tokio's in each direction, between two tasks of one process.

use std::thread;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::teams::channel::{Message, SMALL};
use super::{stamp, stamped};
use crate::loops::Client;
use crate::pin::Pinned;
use crate::tasks::{TaskHalf, echo, panicked, runtime};
use crate::{Error, Result};

/// Messages in a channel: more than a dialogue needs.
const ROOM: usize = 64;

struct Half<M> {
    to: Sender<M>,
    from: Receiver<M>,
}

impl<M: Message> TaskHalf for Half<M> {
    async fn send(&mut self, seq: u64, body: &mut [u8]) -> Result<()> {
        stamp(seq, body);
        let sent = self.to.send(M::of(body)).await;
        sent.map_err(|_| Error::failed("the other task is gone"))
    }

    async fn recv(&mut self, body: &mut [u8]) -> Result<u64> {
        let message = self.from.recv().await.ok_or_else(|| Error::failed("the other task is gone"))?;
        body.copy_from_slice(&message.bytes()[..body.len()]);
        Ok(stamped(body))
    }
}

/// One round; the other task is in this thread, or in one on `cpu`.
pub(super) fn round(client: Client<'_>, cpu: Option<usize>) -> Result<()> {
    if client.size <= SMALL { trips::<[u8; SMALL]>(client, cpu) } else { trips::<Box<[u8]>>(client, cpu) }
}

fn trips<M: Message>(client: Client<'_>, cpu: Option<usize>) -> Result<()> {
    let ((to, there), (back, from)) = (channel(ROOM), channel(ROOM));
    let (mut ours, mut theirs) = (Half::<M> { to, from }, Box::new(Half { to: back, from: there }));
    let Some(cpu) = cpu else {
        return client.dialogue(&mut ours, theirs).map(drop);
    };
    let (size, seq) = (client.size, *client.seq);
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            let _pin = Pinned::to(cpu)?;
            runtime()?.block_on(echo(&mut *theirs, size, seq))
        });
        let trips = runtime()?.block_on(client.trips(&mut ours));
        drop(ours); // ends the other one, too, if this one has failed
        let other = other.join().unwrap_or_else(|_| Err(panicked()));
        trips.and(other)
    })
}
