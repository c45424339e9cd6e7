//! A process that does with a ring what it is told, line by line, and says how it went.

use std::time::Duration;

use annulus::{Observer, Producer, RecvTimeoutError, Ring, Subscriber, Waiting};

use super::child::{Child, listen, say};
use super::roles::record;
use crate::support::LONG;

/// What the rings of puppets say.
pub(super) const LIVENESS: Duration = Duration::from_millis(50);

/// What a puppet has.
#[derive(Default)]
struct Puppet {
    tx: Option<Producer>,
    rx: Option<Subscriber>,
    observer: Option<Observer>,
}

/// Does what it is told with the ring of this name.
pub(super) fn run(dir: &str, name: &str) {
    let mut puppet = Puppet::default();
    loop {
        let order = listen();
        let (verb, count) = order.split_once(' ').unwrap_or((&order, "0"));
        let count: u64 = count.parse().unwrap();
        if verb.is_empty() {
            return;
        }
        say(&puppet.obey(verb, count, dir, name));
    }
}

impl Puppet {
    fn obey(&mut self, verb: &str, count: u64, dir: &str, name: &str) -> String {
        let open = || Ring::open(name).dir(dir).waiting(Waiting::park_after(0));
        match verb {
            "produce" => {
                let ring = Ring::open_or_create(name).dir(dir).capacity(4096).liveness(LIVENESS);
                match ring.permissions(0o644, 0o660).producer() {
                    Ok(tx) => format!("at {}", self.tx.insert(tx).sequence()),
                    Err(error) => format!("{:?}", error.kind()),
                }
            }
            "subscribe" => self.joined(open().subscribe()),
            "subscribe-and-stay" => self.joined(open().stay().subscribe()),
            "observe" => match open().waiting(Waiting::spin()).observe() {
                Ok(rx) => format!("at {}", self.observer.insert(rx).sequence()),
                Err(error) => format!("{:?}", error.kind()),
            },
            "send" => {
                let tx = self.tx.as_mut().unwrap();
                for _ in 0..count {
                    tx.send(&record(tx.sequence())).unwrap();
                }
                format!("sent {}", tx.sequence())
            }
            "fill" => {
                let tx = self.tx.as_mut().unwrap();
                while tx.try_send(&record(tx.sequence())).is_ok() {}
                format!("full {}", tx.sequence())
            }
            "hold" => {
                // Its bytes are pinned as long as this process lives.
                let record = self.rx.as_ref().unwrap().recv().unwrap();
                let n = record.sequence();
                std::mem::forget(record);
                format!("holds {n}")
            }
            "read" => {
                let rx = self.rx.as_ref().unwrap();
                for n in rx.sequence()..rx.sequence() + count {
                    let got = rx.recv_timeout(LONG).unwrap();
                    assert!(got.sequence() == n && *got == record(n)[..], "at {n}");
                }
                format!("read {}", rx.sequence())
            }
            "watch" => {
                let rx = self.observer.as_mut().unwrap();
                let mut buf = Vec::new();
                for n in rx.sequence()..rx.sequence() + count {
                    let got = rx.recv_into_timeout(&mut buf, LONG).unwrap();
                    assert!(got.sequence == n && buf == record(n), "at {n}");
                }
                format!("watched {}", rx.sequence())
            }
            // Reads what there is, up to the end.
            "end" => loop {
                match self.rx.as_ref().unwrap().recv_timeout(LONG) {
                    Ok(_) => {}
                    Err(RecvTimeoutError::Ended(end)) => break format!("{end:?}"),
                    Err(other) => break format!("{other:?}"),
                }
            },
            "end-of-watch" => {
                let mut buf = Vec::new();
                loop {
                    match self.observer.as_mut().unwrap().recv_into(&mut buf) {
                        Ok(_) | Err(annulus::CopyError::Lagged(_)) => {}
                        Err(annulus::CopyError::Ended(end)) => break format!("{end:?}"),
                        Err(other) => break format!("{other:?}"),
                    }
                }
            }
            other => panic!("no order {other}"),
        }
    }

    fn joined(&mut self, rx: Result<Subscriber, annulus::Error>) -> String {
        match rx {
            Ok(rx) => format!("at {}", self.rx.insert(rx).sequence()),
            Err(error) => format!("{:?}", error.kind()),
        }
    }
}

/// Tells a puppet something, and hears what came of it.
#[track_caller]
pub(super) fn told(puppet: &mut Child, order: &str) -> String {
    puppet.tell(order);
    puppet.hear()
}
