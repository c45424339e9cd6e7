//! What the system really does behind each function, often in a second process.

mod futex;
mod locks;
mod mapping;
mod object;
mod place;
mod support;
