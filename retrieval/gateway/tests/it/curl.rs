//! A real client: curl.

use std::io::Write;
use std::process::Command;

use super::common::*;

pub fn curl(arguments: &[&str]) -> Option<std::process::Output> {
    match Command::new("curl").args(["--silent", "--show-error", "--fail"]).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            // Not the macro, whose output a passing test swallows: CI counts this line.
            let _ =
                writeln!(std::io::stderr(), "check skipped: curl cannot be started ({error}); install curl to run it");
            None
        }
    }
}

#[test]
fn curl_reads_ranges_and_resumes() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let url = format!("http://{}/data/demo/{BIG}", server.addr);
    let Some(part) = curl(&["-r", "1000-1999999", &url]) else { return };
    assert!(part.status.success() && part.stdout == fixture.big()[1000..2_000_000]);
    let suffix = curl(&["-r", "-77", &url]).unwrap();
    assert!(suffix.stdout == fixture.big()[fixture.big().len() - 77..]);

    let target = fixture.target("resumed");
    std::fs::write(&target, &fixture.big()[..1_234_567]).unwrap();
    let resumed = curl(&["--continue-at", "-", "-o", target.to_str().unwrap(), &url]).unwrap();
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert!(std::fs::read(&target).unwrap() == fixture.big());

    let head = curl(&["--head", &url]).unwrap();
    assert!(String::from_utf8_lossy(&head.stdout).to_lowercase().contains("accept-ranges: bytes"));
    let missing = curl(&[&format!("http://{}/data/demo/none", server.addr)]).unwrap();
    assert_eq!(missing.status.code(), Some(22), "--fail reports a 404");
}
