//! The suite of the event log: behaviour, random histories against a model, and crashes.

#[cfg(test)]
mod account;
#[cfg(test)]
mod behaviour;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod beside;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod carrying;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod faults;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod frozen;
#[cfg(test)]
mod history;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod leases;
#[cfg(test)]
mod model;
#[cfg(test)]
mod reads;
#[cfg(test)]
mod rebuilding;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod servers;
#[cfg(test)]
mod settling;
