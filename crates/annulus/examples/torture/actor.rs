//! A process that the conductor has started.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::forward::Sabotage;
use crate::notes::{NONE, Noted, Notes};
use crate::stage::{Part, Stage};
use crate::sys::{self, KILL, Signal};
use crate::wire::Kind;

/// Nanoseconds of a processor in which nobody gets anywhere.
const LITTLE: u64 = 500_000;

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Producer,
    Reader(Kind),
    /// Of this group; one that stays is neither killed nor leaves before the end.
    Worker {
        group: u32,
        stays: bool,
    },
}

impl Role {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Role::Producer => "producer",
            Role::Reader(kind) => kind.word(),
            Role::Worker { .. } => "worker",
        }
    }
}

/// A living child, or one that is not waited for yet. Dropped, it is killed and waited for.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) role: Role,
    pub(crate) id: u64,
    child: Child,
    stage: Stage,
    /// It is stopped until then.
    until: Option<Instant>,
    killed: bool,
    noted: Noted,
    /// Nanoseconds that it had run.
    ran: u64,
    /// So many looks in a row found nothing new in its notes.
    pub(crate) idle: u32,
}

impl Actor {
    pub(crate) fn start(
        stage: &Stage,
        seed: u64,
        ring: u64,
        id: u64,
        role: Role,
        sabotage: Option<Sabotage>,
    ) -> Result<Actor, String> {
        let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let mut command = Command::new(program);
        let word = if matches!(role, Role::Reader(_)) { "reader" } else { role.word() };
        command.arg(word).args(Part::words(stage, seed, ring, id)).stdin(Stdio::piped());
        match role {
            Role::Producer => {}
            Role::Reader(kind) => {
                command.arg(kind.word());
            }
            Role::Worker { group, stays } => {
                command.arg(group.to_string()).arg(if stays { "stays" } else { "goes" });
            }
        }
        command.args(sabotage.map(Sabotage::word));
        let child = command.spawn().map_err(|error| format!("start a {}: {error}", role.word()))?;
        Ok(Actor {
            role,
            id,
            child,
            stage: stage.clone(),
            until: None,
            killed: false,
            noted: [0; 4],
            ran: 0,
            idle: 0,
        })
    }

    /// Stops it until some time; `false` if it is stopped already.
    pub(crate) fn stop(&mut self, until: Instant) -> bool {
        if self.until.is_some() {
            return false;
        }
        sys::send(&self.child, Signal::Stop);
        self.until = Some(until);
        true
    }

    /// Continues it if it is time.
    pub(crate) fn go_on_at(&mut self, now: Instant) {
        if self.until.is_some_and(|until| now >= until) {
            self.go_on_now();
        }
    }

    /// Continues it if it is stopped.
    pub(crate) fn go_on_now(&mut self) {
        if self.until.take().is_some() {
            sys::send(&self.child, Signal::Continue);
        }
    }

    /// Kills it, and does not wait until it is dead.
    pub(crate) fn kill(&mut self) {
        sys::send(&self.child, Signal::Kill);
        self.killed = true;
    }

    /// Whether it is dead, killed or ended well by itself; what it had noted.
    pub(crate) fn ended(&mut self) -> Result<Option<Noted>, String> {
        match self.child.try_wait().map_err(|error| format!("wait: {error}"))? {
            None => Ok(None),
            // One that was about to end may have been quicker than the kill.
            Some(status) if status.success() || (self.killed && status.signal() == Some(KILL)) => {
                Ok(Some(self.take_notes()))
            }
            Some(status) => Err(format!("the {} {} ended with {status}", self.role.word(), self.id)),
        }
    }

    /// Tells a producer to close its ring, and a worker that stays that its fellows have ended.
    pub(crate) fn close(&mut self) -> Result<(), String> {
        let mut pipe = self.child.stdin.as_ref().ok_or("no pipe to a process")?;
        pipe.write_all(b"c").map_err(|error| format!("tell the {} to end: {error}", self.role.word()))
    }

    /// Whether it is a worker that has noted that it joined.
    pub(crate) fn has_joined(&self) -> bool {
        Notes::read(&self.stage.notes(self.id))[1] != NONE
    }

    /// Looks whether it has got anywhere since the last look.
    pub(crate) fn look(&mut self) {
        let noted = Notes::read(&self.stage.notes(self.id));
        self.idle = if noted == self.noted { self.idle + 1 } else { 0 };
        self.noted = noted;
    }

    /// Whether it would have run since the last question and got no processor, or the kernel is busy for it: whoever
    /// waits for it is not stuck. (To close a watch of a directory the kernel takes as long as its workers do.)
    pub(crate) fn is_starved(&mut self) -> bool {
        let ran: u64 = self.file("schedstat").split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
        let little = ran.saturating_sub(std::mem::replace(&mut self.ran, ran)) < LITTLE;
        let stat = self.file("stat");
        let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        state.starts_with('D') || (little && state.starts_with('R'))
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap_or_default()
    }

    /// What the kernel says that it does, for people.
    pub(crate) fn describe(&self) -> String {
        let status = self.file("status");
        let state = status.lines().find(|line| line.starts_with("State")).unwrap_or_default().to_owned();
        let call = self.file("syscall");
        let (role, noted) = (self.role.word(), self.noted);
        format!(
            "{role} {}, {state}, in {}, call {}, noted {noted:?}",
            self.id,
            self.file("wchan"),
            call.trim()
        )
    }

    fn take_notes(&mut self) -> Noted {
        let path = self.stage.notes(self.id);
        let noted = Notes::read(&path);
        // It may not have made the file.
        let _ = std::fs::remove_file(path);
        noted
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // One that was waited for is left alone by both.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
