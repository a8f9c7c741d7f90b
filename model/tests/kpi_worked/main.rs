//! Each KPI by hand: a few packets, the arithmetic beside them, and what is absent.

mod books;
mod caps;
mod delays;
mod queues;
mod world;
