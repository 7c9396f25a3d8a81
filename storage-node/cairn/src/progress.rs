//! Progress of long computations: a bar with the time left on a terminal, nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

const BAR: &str = "{prefix:>12} [{bar:32}] {bytes}/{total_bytes}, {eta} left";

/// Shows one stage after the other on standard error.
#[derive(Debug)]
pub struct Stage {
    bar: ProgressBar,
}

impl Stage {
    /// Begins a stage. Nothing is drawn when standard error is no terminal.
    pub fn begin(name: &'static str) -> Self {
        let bar = ProgressBar::no_length().with_prefix(name);
        bar.set_style(ProgressStyle::with_template(BAR).expect("the template is valid").progress_chars("=> "));
        Self { bar }
    }

    /// Bytes done of bytes in total.
    pub fn report(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
