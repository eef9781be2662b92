//! What every process needs around the services: the machine's clock and randomness, supervised tasks, long
//! calculations and bodies, a shutdown that ends in order, processes of the machine, logs, and configuration. It knows
//! no service.

pub mod background;
pub mod backoff;
pub mod config;
pub mod health;
pub mod machine;
pub mod printing;
pub mod process;
pub mod reading;
pub mod shutdown;
pub mod steady;
pub mod tasks;
pub mod telemetry;

pub use backoff::Backoff;
pub use health::{Health, Part};
pub use machine::{MachineClock, MachineEntropy, Stopwatch};
pub use printing::{print_error, print_line};
pub use shutdown::Shutdown;
pub use steady::SteadyClock;
pub use tasks::{Attempt, Task, supervise};
