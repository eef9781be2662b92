//! What the service measures: sweeps and trials by state, fits. Nothing here reads the log.

use std::collections::BTreeMap;

use contracts::health::Family;
use eventlog::Error;

use crate::service::Core;
use crate::stream::stream_of;
use crate::sweep::Sweep;
use crate::views;

/// What cannot be read now is left out.
pub(crate) async fn measure(core: &Core) -> Vec<Family> {
    let mut families = fits(core);
    match by_state(core).await {
        Ok(counted) => families.extend(counted),
        Err(error) => tracing::warn!("sweeps cannot be counted: {error}"),
    }
    families
}

fn fits(core: &Core) -> Vec<Family> {
    let (count, seconds) = core.tuners.fits();
    vec![
        Family::counter("trialog_fits_total", "Fits of models to trials, since the start.").with(&[], count as f64),
        Family::counter("trialog_fit_seconds_total", "Seconds that fits took, since the start.").with(&[], seconds),
    ]
}

async fn by_state(core: &Core) -> Result<[Family; 2], Error> {
    let (mut sweeps, mut trials) = (BTreeMap::new(), BTreeMap::new());
    // An open sweep is in memory anyway.
    for sweep_id in views::active(core.log.reader()).await? {
        let look = |sweep: &Sweep, _| (sweep.status.state().to_string(), sweep.shown_counts());
        let (state, counts) = core.log.inspect::<Sweep, _>(&stream_of(sweep_id), look).await?;
        *sweeps.entry(state).or_insert(0.0) += 1.0;
        for (state, count) in counts {
            *trials.entry(state.to_string()).or_insert(0.0) += f64::from(count);
        }
    }
    for (state, count) in views::ended_trials(core.log.reader()).await? {
        *trials.entry(state).or_insert(0.0) += count as f64;
    }
    let all = |family: Family, counts: BTreeMap<String, f64>| {
        counts.iter().fold(family, |family, (state, count)| family.with(&[("state", state)], *count))
    };
    Ok([
        all(Family::gauge("trialog_sweeps", "Sweeps that have not ended, by state."), sweeps),
        all(Family::gauge("trialog_trials", "Trials of all sweeps, by state."), trials),
    ])
}
