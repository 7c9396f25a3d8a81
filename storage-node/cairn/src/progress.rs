//! Progress of long computations: a bar with the time left on a terminal, nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

const BYTES: &str = "{prefix:>12} [{bar:32}] {bytes}/{total_bytes}, {eta} left";
const SHARE: &str = "{prefix:>12} [{bar:32}] {percent} %, {eta} left";
const COUNT: &str = "{prefix:>12} {human_pos}, {elapsed}";

/// Shows one stage after the other on standard error.
#[derive(Debug)]
pub struct Stage {
    bar: ProgressBar,
}

impl Stage {
    /// Begins a stage that is counted in bytes. Nothing is drawn when standard error is no terminal.
    pub fn begin(name: &'static str) -> Self {
        Self::styled(name, BYTES)
    }

    /// Begins a stage whose unit nobody knows: only its share is shown.
    pub fn begin_share(name: &'static str) -> Self {
        Self::styled(name, SHARE)
    }

    /// Begins a stage whose end nobody knows.
    pub fn begin_count(name: &'static str) -> Self {
        Self::styled(name, COUNT)
    }

    fn styled(name: &'static str, template: &str) -> Self {
        let bar = ProgressBar::no_length().with_prefix(name);
        bar.set_style(ProgressStyle::with_template(template).expect("the template is valid").progress_chars("=> "));
        Self { bar }
    }

    /// Done of total, in the stage's unit.
    pub fn report(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// Done so far, of a total that nobody knows.
    pub fn count(&self, done: u64) {
        self.bar.set_position(done);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
