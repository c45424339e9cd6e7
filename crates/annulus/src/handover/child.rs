//! Inherited by a child: descriptors that it keeps over exec, and a variable that says which they are.
//!
//! The variable holds `name=data,ctl;name=data;..`, each descriptor as `number:inode`. The inode number keeps a
//! grandchild, which has the variable but not the descriptors, from taking something else that got the number.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use annulus_os::inherit::{NotOurs, above_standard, adopt, inherit};
use annulus_os::place::facts_of;
use annulus_os::{Access, Seal};

use super::offer::Offer;
use super::reason::Reason;
use crate::Payload;
use crate::error::{Error, ErrorKind};
use crate::open::Open;
use crate::registry::check_name;
use crate::ring::Ring;
use crate::typed::TypedRing;

/// The environment variable that tells a child which rings were handed to it. What it holds is this library's own.
pub const VARIABLE: &str = "ANNULUS_RINGS";

/// Handing rings to a child process: for [`Command`].
pub trait HandOver {
    /// Hands a ring to each child that this command starts, which takes it with
    /// [`Ring::inherited`](crate::Ring::inherited) under `name`. Several rings can be handed over under several names.
    ///
    /// In this process the descriptors stay closed on exec, so no other child gets them, whoever starts it and when. Each
    /// child of this command has open file descriptions of its own. The command holds the offer as long as it is
    /// there: a ring's memory is not freed before.
    ///
    /// The child is started by fork(2) and exec: [`Command::spawn`] reports `NotFound` if there is no `/proc` for the child,
    /// so say this before a `pre_exec` that changes its root. [`Command::env_clear`] and `env_remove` belong before it, too.
    ///
    /// # Errors
    ///
    /// [`BadName`](ErrorKind::BadName) for what is no ring's name; [`BadOption`](ErrorKind::BadOption) if this command
    /// hands over another ring under it; and what the system refuses.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use annulus::Ring;
    /// use annulus::handover::HandOver;
    ///
    /// let mut tx = Ring::anonymous("quotes").producer()?;
    /// let mut child = Command::new("reader").hand_over("quotes", tx.offer()?)?.spawn()?;
    /// tx.wait_for_subscribers(1)?;
    /// tx.send(b"hello")?;
    ///
    /// // In `reader`:
    /// let rx = Ring::inherited("quotes")?.subscribe()?;
    /// assert_eq!(&*rx.recv()?, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn hand_over(&mut self, name: &str, offer: Offer) -> Result<&mut Self, Error>;
}

impl HandOver for Command {
    fn hand_over(&mut self, name: &str, offer: Offer) -> Result<&mut Self, Error> {
        check_name(name)?;
        // What is in this process's own environment is about its own descriptors, not the child's.
        let before = self.get_envs().find(|(key, _)| *key == VARIABLE).and_then(|(_, value)| value);
        let mut rings = match before.map(OsStr::to_str) {
            None => String::new(),
            Some(Some(text)) if parse(text).is_some() => text.to_owned(),
            Some(_) => return Err(Error::of(ErrorKind::Handover(Reason::BadVariable), name)),
        };
        if parse(&rings).is_some_and(|rings| rings.iter().any(|ring| ring.name == name)) {
            let what = "this command hands over another ring under the name; choose another";
            return Err(Error::of(ErrorKind::BadOption(what), name));
        }
        let failed = |source| Error::io("prepare the ring for the child", name, source);
        let (_, data, ctl) = offer.into_files();
        let mut left = Vec::new();
        let mut texts = Vec::new();
        for (file, access) in [(Some(data), Access::Read), (ctl, Access::ReadWrite)] {
            let Some(file) = file else { continue };
            let file = above_standard(file).map_err(failed)?;
            texts.push(format!("{}:{}", number_of(&file), facts_of(&file).map_err(failed)?.ino));
            left.push((file, access));
        }
        if !rings.is_empty() {
            rings.push(';');
        }
        rings.push_str(&format!("{name}={}", texts.join(",")));
        inherit(self, left);
        Ok(self.env(VARIABLE, rings))
    }
}

fn number_of(file: &File) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(file)
}

impl Ring {
    /// A ring that whoever started this program has [handed over](HandOver::hand_over) under this name.
    ///
    /// Can be taken once: what it returns is then this program's, and can be cloned. From then on it is closed on exec; a
    /// child that is to have it, too, needs an offer of its own.
    ///
    /// # Errors
    ///
    /// [`BadName`](ErrorKind::BadName); [`Handover`](ErrorKind::Handover) with [`NotInherited`](Reason::NotInherited),
    /// [`Taken`](Reason::Taken), [`BadVariable`](Reason::BadVariable) or [`NotOpen`](Reason::NotOpen), and those of
    /// [`Offer::from_fds`]. A descriptor that is not the ring's is left alone.
    pub fn inherited(name: &str) -> Result<Open, Error> {
        take(name).map(Offer::open)
    }
}

impl<T: Payload> TypedRing<T> {
    /// A ring of such values that was handed over: see [`Ring::inherited`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn inherited(name: &str) -> Result<Open<T>, Error> {
        take(name).map(Offer::open_typed)
    }
}

/// The numbers that were taken: they may mean something else by now.
static TAKEN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn take(name: &str) -> Result<Offer, Error> {
    check_name(name)?;
    let refused = |reason| Error::of(ErrorKind::Handover(reason), name);
    let Some(variable) = std::env::var_os(VARIABLE) else { return Err(refused(Reason::NotInherited)) };
    let rings = variable.to_str().and_then(parse).ok_or_else(|| refused(Reason::BadVariable))?;
    let Some(ring) = rings.iter().find(|ring| ring.name == name) else {
        return Err(refused(Reason::NotInherited));
    };
    // Held until they are ours: two who take at once are one after the other.
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if ring.descriptors().any(|left| taken.contains(&left.number)) {
        return Err(refused(Reason::Taken));
    }
    let mut adopted = |left: Left, seal, which| match adopt(left.number, left.inode, seal) {
        Ok(file) => {
            taken.insert(left.number);
            Ok(file)
        }
        Err(NotOurs::Unsealed) => Err(refused(Reason::Unsealed(which))),
        Err(_) => Err(refused(Reason::NotOpen { descriptor: left.number })),
    };
    let data = adopted(ring.data, Seal::SizeAndFutureWrite, "data")?;
    let ctl = ring.ctl.map(|ctl| adopted(ctl, Seal::Size, "ctl")).transpose()?;
    Offer::of_files(name, data, ctl)
}

/// A ring as the variable says it.
#[derive(Debug, PartialEq, Eq)]
struct Inherited<'a> {
    name: &'a str,
    data: Left,
    ctl: Option<Left>,
}

impl Inherited<'_> {
    fn descriptors(&self) -> impl Iterator<Item = Left> {
        std::iter::once(self.data).chain(self.ctl)
    }
}

/// A descriptor that was left open for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    number: i32,
    inode: u64,
}

/// All of the variable, or nothing: names of rings, once each, and descriptors, once each.
fn parse(variable: &str) -> Option<Vec<Inherited<'_>>> {
    let mut rings = Vec::new();
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for part in variable.split(';') {
        let (name, descriptors) = part.split_once('=')?;
        check_name(name).ok()?;
        let mut descriptors = descriptors.split(',').map(Left::parse);
        let data = descriptors.next()??;
        let ctl = match descriptors.next() {
            Some(ctl) => Some(ctl?),
            None => None,
        };
        let ring = Inherited { name, data, ctl };
        if descriptors.next().is_some()
            || !names.insert(name)
            || !ring.descriptors().all(|left| numbers.insert(left.number))
        {
            return None;
        }
        rings.push(ring);
    }
    Some(rings)
}

impl Left {
    fn parse(text: &str) -> Option<Left> {
        let (number, inode) = text.split_once(':')?;
        // Digits and nothing else: `parse` alone would let a sign through.
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(number) || !digits(inode) {
            return None;
        }
        Some(Left { number: number.parse().ok()?, inode: inode.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_read_whole_or_not_at_all() {
        let rings = parse("a=3:10,4:11;b.c=5:12").unwrap();
        assert_eq!(rings.len(), 2);
        assert_eq!((rings[0].name, rings[0].data), ("a", Left { number: 3, inode: 10 }));
        assert_eq!(rings[0].ctl, Some(Left { number: 4, inode: 11 }));
        assert_eq!((rings[1].name, rings[1].data.number, rings[1].ctl), ("b.c", 5, None));
        for bad in [
            "",
            ";",
            "a",
            "a=",
            "=3:1",
            "a=3",
            "a=3:",
            "a=:1",
            "a=-3:1",
            "a=+3:1",
            "a=3:-1",
            "a= 3:1",
            "a=3:1,",
            "a=3:1,4:2,5:3",
            "a=3:1;",
            "a=3:1;a=4:2",
            "a=3:1,3:1",
            "a=3:1;b=3:1",
            "../x=3:1",
            ".x=3:1",
            "a=99999999999:1",
            "a=3:99999999999999999999999",
            "a=3:0x10",
            "a=３:1",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
