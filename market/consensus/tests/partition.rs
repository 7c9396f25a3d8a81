//! Four validators as processes, each in a network of its own, joined by a bridge that is cut and mended.
//!
//! The networks are namespaces of the kernel, which takes the right to make them; without it the check is skipped.

mod support;

use std::process::Command as Process;

use support::processes::{Processes, VALIDATORS, validate};

/// Not a test of its own: what a child does.
#[test]
fn child_validates() {
    validate(1);
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Process::new("ip").args(arguments.split(' ')).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Namespaces of four validators and one with the two bridges between them.
struct Networks {
    name: String,
}

impl Networks {
    fn make() -> Result<Self, String> {
        let made = Self { name: format!("cairn{}", std::process::id()) };
        let name = &made.name;
        ip(&format!("netns add {name}s"))?;
        for bridge in ["one", "two"] {
            ip(&format!("-n {name}s link add {bridge} type bridge"))?;
            ip(&format!("-n {name}s link set {bridge} up"))?;
        }
        for number in 0..VALIDATORS {
            let own = made.of(number);
            ip(&format!("netns add {own}"))?;
            ip(&format!("-n {name}s link add port{number} type veth peer name eth0 netns {own}"))?;
            ip(&format!("-n {name}s link set port{number} master one up"))?;
            ip(&format!("-n {own} addr add 10.91.0.{}/24 dev eth0", number + 1))?;
            ip(&format!("-n {own} link set eth0 up"))?;
            ip(&format!("-n {own} link set lo up"))?;
        }
        Ok(made)
    }

    /// The namespace of a validator.
    fn of(&self, number: u32) -> String {
        format!("{}v{number}", self.name)
    }

    /// Joins a validator to one of the two bridges.
    fn join(&self, number: u32, bridge: &str) {
        ip(&format!("-n {}s link set port{number} master {bridge}", self.name)).expect("the bridge is there");
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for number in 0..VALIDATORS {
            let _ = ip(&format!("netns del {}", self.of(number)));
        }
        let _ = ip(&format!("netns del {}s", self.name));
    }
}

#[test]
fn a_network_that_is_cut_heals_by_itself() {
    let networks = match Networks::make() {
        Ok(networks) => networks,
        Err(reason) => return println!("check skipped: network namespaces cannot be made: {reason}"),
    };
    let addresses = (1..=VALIDATORS).map(|host| format!("10.91.0.{host}:7000").parse().expect("an address"));
    let mut validators = Processes::new(addresses.collect());
    for number in 0..VALIDATORS {
        validators.spawn(number, &["ip", "netns", "exec", &networks.of(number)]);
    }
    validators.advance(&[0, 1, 2, 3], 3);
    // One is cut off: the others go on, it does not; mended, it catches up.
    networks.join(3, "two");
    validators.advance(&[0, 1, 2], 5);
    validators.stand_still(&[3]);
    networks.join(3, "one");
    validators.advance(&[0, 1, 2, 3], 3);
    // Two and two: half of the votes decide nothing.
    networks.join(2, "two");
    networks.join(3, "two");
    validators.stand_still(&[0, 1, 2, 3]);
    networks.join(2, "one");
    networks.join(3, "one");
    validators.advance(&[0, 1, 2, 3], 5);
    validators.finish();
}
