//! What the network says while it runs: a progress bar with the time left on a terminal, plain lines everywhere.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use cairn_sealing::{Observer, PipelineEvent};
use indicatif::{ProgressBar, ProgressStyle};

const BAR: &str = "{prefix:>24} [{bar:32}] {bytes}/{total_bytes}, {eta} left";

/// Standard error, shared by all threads of the network.
pub struct Console {
    /// Only on a terminal.
    bar: Option<ProgressBar>,
    /// What the bar shows now.
    shown: Mutex<String>,
}

impl Console {
    /// Bars on a terminal, plain lines elsewhere.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(BAR).expect("the template is valid").progress_chars("=> ");
            ProgressBar::no_length().with_style(style)
        });
        Self { bar, shown: Mutex::new(String::new()) }
    }

    /// One line.
    pub fn line(&self, text: impl AsRef<str>) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{}", text.as_ref())),
            None => eprintln!("{}", text.as_ref()),
        }
    }

    /// How far something long is; shown on a terminal only. `done == total` takes the bar away.
    pub fn progress(&self, what: &str, done: u64, total: u64) {
        let Some(bar) = &self.bar else { return };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown != what {
            bar.reset();
            bar.set_prefix(what.to_owned());
            what.clone_into(&mut shown);
        }
        if done >= total {
            bar.finish_and_clear();
            shown.clear();
            return;
        }
        bar.set_length(total);
        bar.set_position(done);
    }
}

impl Observer for Console {
    fn observe(&self, event: &PipelineEvent) {
        match event {
            PipelineEvent::Progress { sector, part, progress } => {
                self.progress(&format!("sector {sector} {part}"), progress.done, progress.total);
            }
            // The journal has these, and the lines that follow say as much.
            PipelineEvent::StageStarted { .. }
            | PipelineEvent::InputsChecked { .. }
            | PipelineEvent::FilesWritten { .. }
            | PipelineEvent::Submitting { .. }
            | PipelineEvent::Waiting { .. }
            | PipelineEvent::FileRemoved { .. }
            | PipelineEvent::PostProven { .. }
            | PipelineEvent::PostSubmitting { .. }
            | PipelineEvent::PostSubmitted { .. } => {}
            told => self.line(told.to_string()),
        }
    }
}
