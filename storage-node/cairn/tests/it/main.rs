//! The real binary, run as a person runs it.

mod accuse;
mod circuit;
mod devnet;
mod gateway;
mod get;
mod ledger;
mod offline_tools;
mod params;
mod post;
mod sector_snark;
mod support;
mod validator;
