//! How a worker waits together with others.

use std::task::Waker;
use std::time::{Duration, Instant};

use annulus_core::doorbell::{Sleep, Slept, group_bit, when_empty};

use super::Worker;
use crate::bells::RoomBell;
use crate::error::RecvError;
use crate::life::Life;
use crate::memory::Memory;
use crate::sleeper::{NAP_LONGEST, Sleeper, fellows};

impl Sleeper for Worker {
    fn bell(&self) -> Option<&Memory> {
        self.sleeping.bell(&self.memory)
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(self.memory.ctl()).addr()
    }

    fn bits(&self) -> u32 {
        group_bit(self.number)
    }

    fn fellows(&self) -> Option<Waker> {
        Some(fellows(&self.memory, self.number))
    }

    fn longest_nap(&self) -> Duration {
        NAP_LONGEST
    }

    fn has_news(&self) -> bool {
        !self.birth.is_here()
            || self.core.is_ready(self.memory.shared(), self.group())
            || self.end_of_state().is_some()
    }

    fn life(&self) -> &Life {
        &self.life
    }

    fn end_at(&self, now: Instant) -> Option<RecvError> {
        self.end(now)
    }

    fn patience(&self, now: Instant) -> Duration {
        self.life.patience(now).min(self.burying.left(now))
    }

    fn ring(&self) {
        when_empty(self.memory.ctl(), &RoomBell::of(&self.memory));
    }

    fn go_to_sleep(&self, extra: u32, most: Duration) -> Result<Sleep, Slept> {
        let bits = group_bit(self.number) | extra;
        self.sleeping.go_to_sleep((&self.memory, self.slot), bits, most, || self.may_not_sleep())
    }

    fn slept(&self, sleep: Sleep, passed: bool) {
        self.sleeping.slept((&self.memory, self.slot), sleep, passed);
    }
}
