//! Whom a fact is about: what readers of a feed filter by.

use crate::{compute, models, runs, sweeps, workspaces};

/// The ids in a fact by which it can be asked for; empty where it has none.
pub trait About {
    /// The workspace that it belongs to.
    fn workspace(&self) -> &str;

    /// The sweep that it is about, or that the run belongs to.
    fn sweep_id(&self) -> &str {
        ""
    }

    /// The run that it is about, or that the job belongs to.
    fn run_id(&self) -> &str {
        ""
    }
}

macro_rules! about {
    ($($module:ident { $($message:ident ($($id:ident),*)),+ $(,)? })+) => {
        $($(impl About for $module::$message {
            fn workspace(&self) -> &str {
                &self.workspace
            }

            $(fn $id(&self) -> &str {
                &self.$id
            })*
        })+)+
    };
}

about! {
    compute {
        ClusterChanged(), NodeChanged(), JobQueued(run_id), JobPlaced(run_id), JobPhaseChanged(run_id),
        JobRequeued(run_id), JobHeld(run_id), JobEnded(run_id), DeploymentRevised(), EndpointChanged(),
    }
    models { VersionRegistered(run_id, sweep_id), AliasChanged(), VersionArchived() }
    runs {
        ExperimentCreated(), RunCreated(run_id, sweep_id), RunStateChanged(run_id, sweep_id),
        RunStopRequested(run_id), RunReleased(run_id), MetricReported(run_id, sweep_id),
        MetricNameSeen(run_id, sweep_id), RunEnded(run_id, sweep_id), RunRelabelled(run_id), RunDeleted(run_id),
        ArtifactsRecorded(run_id),
    }
    sweeps {
        SweepSubmitted(sweep_id), SweepStateChanged(sweep_id), TrialProposed(sweep_id, run_id),
        TrialReported(sweep_id, run_id), TrialStopRequested(sweep_id, run_id), TrialPromoted(sweep_id, run_id),
        TrialReleased(sweep_id, run_id), TrialEnded(sweep_id, run_id), SweepWarned(sweep_id), SweepDeleted(sweep_id),
    }
    workspaces { TokenCreated() }
}

impl About for workspaces::WorkspaceCreated {
    fn workspace(&self) -> &str {
        &self.name
    }
}

impl About for workspaces::WorkspaceDeleted {
    fn workspace(&self) -> &str {
        &self.name
    }
}

impl About for workspaces::TokenRevoked {
    fn workspace(&self) -> &str {
        ""
    }
}
