//! What has been printed, and how it ended.

use std::process::ExitCode;

use anyhow::{Context, Result};
use cairn_compare::side::{Outcome, median};

use crate::line::{Line, rounded};

/// The lines so far, in short.
#[derive(Debug, Default)]
pub struct Report {
    disagreements: Vec<String>,
    missed: Vec<String>,
}

/// What ours should reach.
#[derive(Debug, Clone, Copy, Default)]
pub struct Target {
    /// At least so many times faster.
    pub ratio: Option<f64>,
    /// At most this part of the reference's peak memory.
    pub peak_share: Option<f64>,
}

impl Report {
    /// Prints where the run happens, and how busy the machine is.
    pub fn machine(&mut self) -> Result<()> {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let load = std::fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
        let line = Line::about("machine")
            .with("processor", model.trim_start_matches([' ', '\t', ':']))
            .with("cores", std::thread::available_parallelism()?.get())
            .with("load_average_1_min", load.split_whitespace().next().and_then(|load| load.parse::<f64>().ok()));
        self.print(&line);
        Ok(())
    }

    /// Prints a line as it is.
    pub fn print(&mut self, line: &Line) {
        println!("{line}");
    }

    /// Prints the same work on both sides, done once or several times: medians, their ratio, the largest peaks.
    pub fn compare(&mut self, what: &str, [ours, reference]: [&[Outcome]; 2], target: Target, note: &str) {
        let sides = [("ours", ours), ("reference", reference)];
        let [our_seconds, reference_seconds] = [ours, reference].map(|runs| seconds(runs, |run| run.work.seconds));
        let mut line = self.with_ratio(Line::about(what), what, our_seconds, reference_seconds, target.ratio);
        line = self.with_peaks(line, what, [ours, reference], target.peak_share);
        // On a busy machine, or against an earlier run's figure, this ratio says more than that of wall times.
        let [our_work, reference_work] = [ours, reference].map(|runs| seconds(runs, |run| run.processor_seconds));
        line = line.figure("processor_ratio", reference_work / our_work);
        for (side, runs) in sides {
            line = line.figure(format!("{side}_processor_s"), seconds(runs, |run| run.processor_seconds));
            for name in runs[0].work.parts.keys() {
                line = line.figure(format!("{side}_{name}"), part(runs, name));
            }
            if runs.len() > 1 {
                let all: Vec<f64> = runs.iter().map(|run| rounded(run.work.seconds)).collect();
                line = line.with(format!("{side}_runs_s"), all);
            }
        }
        self.print(&line.with("note", note));
    }

    /// Prints two figures and their ratio.
    pub fn compare_seconds(&mut self, what: &str, [ours, reference]: [f64; 2], target: Option<f64>, note: &str) {
        let line = self.with_ratio(Line::about(what), what, ours, reference, target);
        self.print(&line.with("note", note));
    }

    /// Prints something that the two must agree about.
    pub fn agreement(&mut self, what: &str, agree: bool, more: impl FnOnce(Line) -> Line) {
        if !agree {
            self.disagreements.push(what.into());
        }
        self.print(&more(Line::about(what).with("agree", agree)));
    }

    /// Says how it ended.
    pub fn finish(mut self) -> ExitCode {
        let line = Line::about("summary")
            .with("agree", self.disagreements.is_empty())
            .with("disagreements", &self.disagreements)
            .with("targets_met", self.missed.is_empty())
            .with("targets_missed", &self.missed);
        self.print(&line);
        if self.disagreements.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn with_ratio(&mut self, line: Line, what: &str, ours: f64, reference: f64, target: Option<f64>) -> Line {
        let ratio = reference / ours;
        let line = line.figure("ours_s", ours).figure("reference_s", reference).figure("ratio", ratio);
        match target {
            None => line,
            Some(target) => line.with("target_ratio", target).with("met", self.judge(ratio >= target, what)),
        }
    }

    fn with_peaks(&mut self, line: Line, what: &str, runs: [&[Outcome]; 2], target: Option<f64>) -> Line {
        let [ours, reference] = runs.map(|runs| runs.iter().map(|run| run.peak_kb).max().unwrap_or_default());
        let share = ours as f64 / reference as f64;
        let line = line.with("ours_peak_kb", ours).with("reference_peak_kb", reference).figure("peak_share", share);
        match target {
            None => line,
            Some(target) => {
                let met = self.judge(share <= target, &format!("{what}: memory"));
                line.with("target_peak_share", target).with("peak_met", met)
            }
        }
    }

    fn judge(&mut self, met: bool, what: &str) -> bool {
        if !met {
            self.missed.push(what.into());
        }
        met
    }
}

/// The median of something over runs.
pub fn seconds(runs: &[Outcome], of: impl Fn(&Outcome) -> f64) -> f64 {
    median(runs.iter().map(of).collect())
}

/// The median of a part.
///
/// # Panics
/// If no run has it.
pub fn part(runs: &[Outcome], name: &str) -> f64 {
    median(runs.iter().filter_map(|run| run.work.parts.get(name).copied()).collect())
}
