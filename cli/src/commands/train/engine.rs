// SPDX-License-Identifier: Apache-2.0
//! What computes, as it is asked for, and whether this build and this machine have it.

use sunbeam_trainer::engine::Engine as Computes;

use crate::exit::CliError;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::commands) enum Engine {
    /// The trainer of this program: the same bytes on every machine
    #[default]
    Native,
    /// The framework `burn` on the processor, in builds with the feature `training`
    Burn,
    /// The framework `burn` on a GPU, in builds with the feature `training-gpu`
    BurnGpu,
}

impl Engine {
    /// Refuses what is not there, before anything is read or trained.
    pub(in crate::commands) fn ready(self) -> Result<Computes, CliError> {
        match self {
            Self::Native => Ok(Computes::Native),
            #[cfg(feature = "training")]
            Self::Burn => Ok(Computes::Burn),
            #[cfg(not(feature = "training"))]
            Self::Burn => Err(missing("training")),
            #[cfg(feature = "training-gpu")]
            Self::BurnGpu => gpu::ready(),
            #[cfg(not(feature = "training-gpu"))]
            Self::BurnGpu => Err(missing("training-gpu")),
        }
    }
}

#[cfg(not(feature = "training-gpu"))]
fn missing(feature: &str) -> CliError {
    CliError::usage(format!("this build has no `{feature}` feature"))
        .hint("`--engine native` trains without it, on the processor")
}

#[cfg(feature = "training-gpu")]
mod gpu {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    use std::{env, io, thread};

    use sunbeam_trainer::engine::Engine as Computes;

    use crate::exit::{CliError, ExitCode};

    /// In the environment of a process that only tries the GPU.
    const TRIAL: &str = "SUNBEAM_GPU_TRIAL";
    /// Drivers that take longer hang.
    const PATIENCE: Duration = Duration::from_secs(120);

    /// Tries the GPU in a process of its own, this same command: a driver may end the process that it is loaded into.
    pub(super) fn ready() -> Result<Computes, CliError> {
        if env::var_os(TRIAL).is_some() {
            return Err(match Computes::BurnGpu.probe() {
                Ok(()) => CliError::silent(ExitCode::Done),
                Err(error) => CliError::failed(error),
            });
        }
        match tried() {
            Ok(true) => Ok(Computes::BurnGpu),
            Ok(false) => Err(CliError::failed("no GPU that can be computed with was found")
                .hint("`--engine burn` or `--engine native` train on the processor, in seconds")),
            Err(error) => Err(CliError::failed(format!("failed to try the GPU: {error}"))),
        }
    }

    fn tried() -> io::Result<bool> {
        let mut trial = Command::new(env::current_exe()?)
            .args(env::args_os().skip(1))
            .env(TRIAL, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = trial.try_wait()? {
                return Ok(status.success());
            }
            thread::sleep(Duration::from_millis(50));
        }
        trial.kill()?;
        trial.wait().map(|_| false)
    }
}
