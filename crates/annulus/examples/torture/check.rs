//! The checker: a process that knows the seed, the bytes that readers received and what dead producers had noted, and
//! says what is wrong with that.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::books::{Books, Produced, Tally};
use crate::plan::Plan;
use crate::shift::Shift;
use crate::stage::Stage;
use crate::sys;
use crate::wire::{End, Frame, Kind, filled};

/// Bytes that are read at once.
const BUFFER: usize = 128 << 10;

/// `checker ROOT PARENT SEED`: says "ready", then each thing that is wrong as a line `red: ..`, at last the counts.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let [root, parent, seed] = words else {
        return Err("a directory, a parent and a seed are wanted".into());
    };
    sys::die_with_parent(Some(parent.parse().map_err(|_| "no pid")?))?;
    let seed = seed.parse().map_err(|_| "no seed")?;
    let failed = |error: io::Error| format!("the checker's socket: {error}");
    let listener = UnixListener::bind(Stage::at(Path::new(root)).socket()).map_err(failed)?;
    println!("ready");
    let books = Arc::new(Books::default());
    let told = Arc::clone(&books);
    let listening = listener.try_clone().map_err(failed)?;
    // Its end is this process's.
    thread::spawn(move || accept(&listening, seed, &told));
    for line in io::stdin().lines() {
        let line = line.map_err(|error| format!("the conductor: {error}"))?;
        let mut words = line.split(' ');
        let word = words.next();
        if word != Some("produced") {
            books.end();
            // Whoever accepts may be waiting.
            UnixStream::connect(Stage::at(Path::new(root)).socket()).map_err(failed)?;
            books.until_read();
            if word == Some("judge") {
                books.judge();
            }
            books.say_counts();
            return Ok(());
        }
        let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        let [ring, begin, attempted, confirmed, closed] = numbers[..] else {
            return Err(format!("the conductor says {line:?}"));
        };
        books.produced(ring, Produced { begin, attempted, confirmed, closed: closed == 1 });
    }
    Err("the conductor is gone".into())
}

/// Reads every connection to its end, in a thread each.
fn accept(listener: &UnixListener, seed: u64, books: &Arc<Books>) {
    let mut readers: Vec<JoinHandle<()>> = Vec::new();
    loop {
        // Whoever was to connect has by then: the first time that nobody is there is the end.
        let ending = books.is_ending() && listener.set_nonblocking(true).is_ok();
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if ending && error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return books.red(&format!("accept: {error}")),
        };
        readers.retain(|reader| !reader.is_finished());
        let theirs = Arc::clone(books);
        readers.push(thread::spawn(move || hear(stream, seed, &theirs)));
    }
    for reader in readers {
        let _ = reader.join();
    }
    books.all_read();
}

/// What one reader says, until it is dead.
fn hear(stream: UnixStream, seed: u64, books: &Books) {
    let mut from = BufReader::with_capacity(BUFFER, stream);
    let mut session: Option<Heard> = None;
    let mut scratch = Scratch::default();
    let mut tally = Tally::default();
    let outcome = loop {
        let frame = match Frame::take(&mut from) {
            Ok(Some(frame)) => frame,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.to_string()),
        };
        let new = match frame {
            Frame::Opened { ring, kind, asked, sequence } => {
                Session::new(Plan::of(seed, ring), kind, asked, sequence)
                    .map(|new| (ring, Heard::Reader(new)))
            }
            Frame::Joined { ring, group, sequence } => {
                Ok((ring, Heard::Worker(Shift::new(Plan::of(seed, ring), group, sequence, books))))
            }
            _ => {
                let Some(open) = &mut session else { break Err("a frame before the first handle".into()) };
                match open.step(frame, &mut from, &mut scratch, &mut tally, books) {
                    Ok(true) => continue,
                    Ok(false) => break Ok(()),
                    Err(why) => break Err(format!("{}, {why}", open.describe())),
                }
            }
        };
        books.add(&mut tally);
        match new {
            Ok((ring, new)) => {
                tally = Tally { ring, handles: 1, ..Tally::default() };
                end(session.replace(new), books);
            }
            Err(why) => break Err(why),
        }
    };
    books.add(&mut tally);
    end(session, books);
    if let Err(why) = outcome {
        books.red(&why);
    }
    // Whoever is still there is not to wait for us.
    let _ = io::copy(&mut from, &mut io::sink());
}

/// Nothing more comes of a handle: a worker's owner is dead, or has left.
fn end(session: Option<Heard>, books: &Books) {
    if let Some(Heard::Worker(shift)) = session {
        shift.end(books);
    }
}

/// Whose frames these are.
enum Heard {
    Reader(Session),
    Worker(Shift),
}

impl Heard {
    fn step(
        &mut self,
        frame: Frame,
        from: &mut impl Read,
        scratch: &mut Scratch,
        tally: &mut Tally,
        books: &Books,
    ) -> Result<bool, String> {
        match self {
            Heard::Reader(session) => session.step(frame, from, scratch, tally, books),
            Heard::Worker(shift) => shift.step(frame, from, scratch, tally, books),
        }
    }

    fn describe(&self) -> String {
        match self {
            Heard::Reader(session) => session.describe(),
            Heard::Worker(shift) => shift.describe(),
        }
    }
}

#[derive(Default)]
pub(crate) struct Scratch {
    received: Vec<u8>,
    expected: Vec<u8>,
}

impl Scratch {
    /// That the bytes which follow are those of the record; `false` if they end too early.
    pub(crate) fn is_whole(
        &mut self,
        plan: &Plan,
        sequence: u64,
        len: u64,
        from: &mut impl Read,
    ) -> Result<bool, String> {
        let wanted = plan.len(sequence);
        if len != wanted as u64 {
            return Err(format!("torn: record {sequence} has {wanted} bytes, and {len} came"));
        }
        self.received.resize(wanted, 0);
        if !filled(from.read_exact(&mut self.received)).map_err(|error| error.to_string())? {
            return Ok(false);
        }
        plan.fill(sequence, &mut self.expected);
        if self.received != self.expected {
            let at = self.received.iter().zip(&self.expected).position(|(a, b)| a != b);
            return Err(format!("torn: record {sequence} of {wanted} bytes differs at {at:?}"));
        }
        Ok(true)
    }
}

/// One handle of one reader.
struct Session {
    plan: Plan,
    kind: Kind,
    /// The sequence of the next record, counting what was told as lost.
    expected: u64,
    /// Records that were gone when it asked for them, of which it must be told first.
    owed: u64,
    /// What it asked for was still to come.
    ahead: bool,
    held: BTreeSet<u64>,
    stamp: u64,
}

impl Session {
    fn new(plan: Plan, kind: Kind, asked: u64, sequence: u64) -> Result<Session, String> {
        let mut session = Session {
            plan,
            kind,
            expected: sequence,
            owed: 0,
            ahead: false,
            held: BTreeSet::new(),
            stamp: 0,
        };
        if asked != u64::MAX {
            if sequence < asked || (sequence > asked && kind == Kind::InPlace) {
                return Err(format!(
                    "{}, it asked to start with {asked} and was told {sequence}",
                    session.describe()
                ));
            }
            session.expected = asked;
            session.owed = sequence - asked;
            session.ahead = true;
        }
        Ok(session)
    }

    fn describe(&self) -> String {
        let Session { plan, kind, expected, .. } = self;
        format!("ring {} ({}), {} reader at {expected}", plan.ring, plan.describe(), kind.word())
    }

    /// `false`: the stream ends inside of this frame.
    fn step(
        &mut self,
        frame: Frame,
        from: &mut impl Read,
        scratch: &mut Scratch,
        tally: &mut Tally,
        books: &Books,
    ) -> Result<bool, String> {
        match frame {
            Frame::Got { sequence, stamp, len } => {
                if !self.is_whole(sequence, stamp, len, from, scratch)? {
                    return Ok(false);
                }
                self.next(sequence, tally)?;
                tally.received += 1;
                tally.bytes += len;
            }
            Frame::Held { sequence } => {
                self.next(sequence, tally)?;
                self.held.insert(sequence);
            }
            Frame::Released { sequence, stamp, len } => {
                if !self.held.remove(&sequence) {
                    return Err(format!("doubled: {sequence} is released, and was not held"));
                }
                // Released out of order, so stamps say nothing about the order.
                self.stamp = 0;
                if !self.is_whole(sequence, stamp, len, from, scratch)? {
                    return Ok(false);
                }
                tally.received += 1;
                tally.bytes += len;
            }
            Frame::Newest { sequence, stamp, len } => {
                // One that waits for a sequence is also given the newest before that, and goes on waiting.
                let early = self.ahead && sequence < self.expected;
                if !early && sequence.saturating_add(1) < self.expected {
                    return Err(format!("doubled: the newest is {sequence}, which is not new"));
                }
                // The newest may be one that came before.
                self.stamp = 0;
                if !self.is_whole(sequence, stamp, len, from, scratch)? {
                    return Ok(false);
                }
                if !early {
                    (self.expected, self.owed, self.ahead) = (sequence + 1, 0, false);
                }
                tally.reached = tally.reached.max(sequence + 1);
                tally.newest += 1;
                tally.bytes += len;
            }
            Frame::Lagged { lost } => self.lagged(lost, tally)?,
            Frame::TooSmall { need } => {
                let len = self.plan.len(self.expected) as u64;
                if need != len || self.owed > 0 {
                    return Err(format!("the next record has {len} bytes, and it was told {need}"));
                }
            }
            Frame::Ended { end, sequence } => self.ended(end, sequence, books)?,
            other => return Err(format!("a reader says {other:?}")),
        }
        Ok(true)
    }

    /// That this is the next record.
    fn next(&mut self, sequence: u64, tally: &mut Tally) -> Result<(), String> {
        if self.owed > 0 {
            return Err(format!("lost: {} records that were gone are not told", self.owed));
        }
        if sequence < self.expected {
            return Err(format!("doubled: {sequence} came again"));
        }
        if sequence > self.expected {
            return Err(format!("lost: {} records before {sequence}", sequence - self.expected));
        }
        self.expected += 1;
        self.ahead = false;
        tally.reached = tally.reached.max(self.expected);
        Ok(())
    }

    /// That the bytes are those of the record; `false` if they end too early.
    fn is_whole(
        &mut self,
        sequence: u64,
        stamp: u64,
        len: u64,
        from: &mut impl Read,
        scratch: &mut Scratch,
    ) -> Result<bool, String> {
        if !scratch.is_whole(&self.plan, sequence, len, from)? {
            return Ok(false);
        }
        if (stamp != 0) != self.plan.clock.is_some() || stamp < self.stamp {
            return Err(format!("torn: record {sequence} has the time {stamp} after {}", self.stamp));
        }
        self.stamp = stamp;
        Ok(true)
    }

    fn lagged(&mut self, lost: u64, tally: &mut Tally) -> Result<(), String> {
        let may = match self.kind {
            Kind::InPlace => false,
            Kind::Copying => self.plan.evict_after.is_some() || self.owed > 0,
            Kind::Observer => true,
        };
        if !may {
            return Err(format!("lost: {lost} records of a subscriber that the producer waits for"));
        }
        if lost == 0 || (self.owed > 0 && lost != self.owed) {
            return Err(format!("lost: it was told {lost}, and {} were gone at its start", self.owed));
        }
        if self.kind == Kind::Copying && self.owed == 0 {
            tally.evictions += 1;
        }
        self.owed = 0;
        self.expected += lost;
        self.ahead = false;
        // Read or not, they must have been published: the judgement at the end sees to it.
        tally.reached = tally.reached.max(self.expected);
        tally.lagged += lost;
        Ok(())
    }

    fn ended(&mut self, end: End, sequence: u64, books: &Books) -> Result<(), String> {
        if !self.held.is_empty() {
            return Err(format!("lost: {} records were held and never released", self.held.len()));
        }
        let there = self.expected + self.owed;
        if sequence != there {
            return Err(format!("lost: it ends at {sequence}, and was told of everything up to {there}"));
        }
        match end {
            End::Closed if self.ahead => books.closed_at(self.plan.ring, 0, sequence),
            End::Closed => books.closed_at(self.plan.ring, sequence, sequence),
            // A start that is still to come says nothing about what there was.
            End::ProducerLost if self.ahead => {}
            End::ProducerLost => books.lost_at(self.plan.ring, sequence),
            End::Dropped => {}
            End::Other => return Err("an end that must not be".into()),
        }
        Ok(())
    }
}

/// The first line of what a process says.
pub(crate) fn first_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}
