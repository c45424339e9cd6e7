//! What the system really does behind each function, often in a second process.

mod clock;
mod futex;
mod huge;
mod locks;
mod many;
mod mapping;
mod object;
mod pages;
mod place;
mod semaphore;
mod support;
mod waitv;
