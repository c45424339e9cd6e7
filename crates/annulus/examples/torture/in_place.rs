//! A subscriber that borrows records in place, holds several and releases them out of order.

use std::time::Duration;

use annulus::{Record, RecvError, RecvTimeoutError, Start, Subscriber, TryRecvError};

use crate::read::{Next, Reader};
use crate::wire::{Frame, Kind};

/// At most so many records are held at once.
const HELD: u64 = 12;

pub(crate) fn read(reader: &mut Reader, start: Start) -> Result<Next, String> {
    let how = |open: annulus::Open| open.subscribe();
    let opened = reader.open(Kind::InPlace, start, how, Subscriber::sequence)?;
    let Some(rx) = opened else { return Ok(Next::Leave) };
    let most = reader.random().below(HELD);
    let mut held: Vec<Record<'_>> = Vec::new();
    loop {
        let end = match next(reader, &rx, held.is_empty())? {
            Ok(record) => {
                reader.put(Frame::Held { sequence: record.sequence() })?;
                held.push(record);
                let full = rx.held_bytes() > reader.part.plan.capacity as u64 / 4;
                while held.len() as u64 > most || (full && !held.is_empty()) {
                    release_one(reader, &mut held)?;
                }
                if reader.has_enough() {
                    release_all(reader, &mut held)?;
                    return reader.dropped(rx.sequence());
                }
                continue;
            }
            Err(end) => end,
        };
        // The producer may wait for what is held.
        release_all(reader, &mut held)?;
        if let Some(end) = end {
            match reader.ended(end, rx.sequence())? {
                Next::SameHandle => {}
                next => return Ok(next),
            }
        }
    }
}

type Got<'a> = Result<Record<'a>, Option<RecvError>>;

/// The next record. One that holds others does not wait for ever: the producer may wait for them.
fn next<'a>(reader: &mut Reader, rx: &'a Subscriber, may_block: bool) -> Result<Got<'a>, String> {
    let quick = match rx.try_recv() {
        Ok(record) => return Ok(Ok(record)),
        Err(TryRecvError::Ended(end)) => return Ok(Err(Some(end))),
        Err(TryRecvError::Empty) => reader.random().below(4),
        Err(error) => return Err(error.to_string()),
    };
    reader.flush()?;
    Ok(match quick {
        0 => {
            std::thread::yield_now();
            Err(None)
        }
        1 | 2 if may_block => rx.recv().map_err(Some),
        _ => match rx.recv_timeout(reader.random().up_to(Duration::from_millis(3))) {
            Ok(record) => Ok(record),
            Err(RecvTimeoutError::TimedOut) => Err(None),
            Err(RecvTimeoutError::Ended(end)) => Err(Some(end)),
            Err(error) => return Err(error.to_string()),
        },
    })
}

/// Sends the bytes of any that is held, and then lets it go.
fn release_one(reader: &mut Reader, held: &mut Vec<Record<'_>>) -> Result<(), String> {
    let i = reader.random().below(held.len() as u64) as usize;
    let record = held.swap_remove(i);
    let (sequence, stamp) = (record.sequence(), record.time().unwrap_or(0));
    reader.put_with(Frame::Released { sequence, stamp, len: record.len() as u64 }, &record)
}

fn release_all(reader: &mut Reader, held: &mut Vec<Record<'_>>) -> Result<(), String> {
    while !held.is_empty() {
        release_one(reader, held)?;
    }
    Ok(())
}
