//! The next suggestion: which model makes it, and from what.

use std::collections::HashSet;

use super::acquire::Acquisition;
use super::cma::Cma;
use super::dims::{Dim, Row};
use super::explained::{Expected, Explained, Near};
use super::gp::{Line, Shape};
use super::model::{Known, Model};
use super::promise::{Bound, Several};
use super::region;
use super::search::Search;
use super::seen::Seen;
use super::stream::{Points, Stream};
use super::tpe::Parzen;
use super::tuner::{Fit, Suggestion, Tuner};
use crate::sampler::Method;

/// Nearest configurations that an explanation names.
const NEAREST: usize = 3;
/// Draws for a fresh configuration before a finite space is walked through.
const REDRAWS: usize = 256;
/// Configurations of a finite space that are walked through at most.
const WALK_MAX: u128 = 1 << 20;
/// Inherited configurations that are tried first.
const INHERITED_FIRST: usize = 3;
/// From so many observations on `auto` leaves the Gaussian process: its fit would see a twelfth of them.
const GP_OBSERVATIONS_MAX: usize = 5_000;
/// .. and above so many parameters, where its lengthscales can no longer be learned.
const GP_PARAMETERS_MAX: usize = 100;
/// With a budget above this `auto` goes over to CMA-ES in a numeric space, once it has seen that many observations.
const CMA_BUDGET_MIN: u64 = 2_000;
/// See [`CMA_BUDGET_MIN`].
const CMA_OBSERVATIONS_MIN: usize = 1_000;
/// From here on one proposal in [`INSURANCE_EVERY`] comes from the TPE: insurance against a model that fits badly.
const INSURANCE_OBSERVATIONS_MIN: usize = 200;
/// See [`INSURANCE_OBSERVATIONS_MIN`].
const INSURANCE_EVERY: u32 = 8;
/// So many pairs of observations allow the whole local search; more of them shorten it, so that the cost stays bounded.
const FULL_EFFORT_PAIRS: f64 = 15_000.0;

/// So many observations more than parameters are enough to model the values at a level of reports.
const BOHB_BEYOND: usize = 2;

/// Who makes a suggestion, and why.
type Choice = (Method, &'static str);

impl Tuner {
    /// Proposal `number`, from the first `known` endings and the fit in use; every other trial below `number` is
    /// pending. `None`: the finite space is used up.
    pub fn suggest(&mut self, number: u32, known: u32) -> Option<Suggestion> {
        if let Some(first) = self.first(number, known) {
            return Some(first);
        }
        let (count, seen) = (self.count(known), self.seen(known));
        let design = self.design().saturating_sub(self.base);
        if (number as usize) < design {
            let why = format!("part of the initial design: proposal {} of {design}", number + 1);
            return self.designed(number, known, &why);
        }
        if self.designing(number, known, &seen) {
            return self.designed(number, known, &self.idle(known, &seen));
        }
        let (method, why) = self.choice(number, count);
        let made = match method {
            Method::CmaEs => self.by_cma(number, known, count, why),
            Method::Tpe => self.by_tpe(number, known, &seen, why),
            Method::Gp | Method::Auto if self.fit.is_none() => None,
            Method::Gp | Method::Auto if self.tracks.is_empty() => self.by_gp(number, known, &seen, why),
            Method::Gp | Method::Auto => self.by_several(number, known, &seen, why),
        };
        made.or_else(|| self.designed(number, known, &self.idle(known, &seen)))
    }

    /// Whether there is too little to learn from.
    fn designing(&self, number: u32, known: u32, seen: &Seen) -> bool {
        (number as usize) < self.design().saturating_sub(self.base) || seen.count == 0 || !self.varied(known, seen)
    }

    /// Whether a Gaussian process is in use at that number of observations.
    pub(super) fn wants_fit(&self, count: usize) -> bool {
        count > 0 && self.base_choice(count).0 == Method::Gp
    }

    fn choice(&self, number: u32, count: usize) -> Choice {
        let (method, why) = self.base_choice(count);
        let insured = self.setup.method == Method::Auto && count >= INSURANCE_OBSERVATIONS_MIN;
        if method == Method::Gp && insured && number.is_multiple_of(INSURANCE_EVERY) {
            return (Method::Tpe, "one proposal in eight insures against a model that fits badly");
        }
        (method, why)
    }

    fn base_choice(&self, count: usize) -> Choice {
        let asked = "the method that was asked for";
        match self.setup.method {
            Method::Gp => (Method::Gp, asked),
            Method::Tpe => (Method::Tpe, asked),
            Method::CmaEs if !self.tracks.is_empty() => (Method::Tpe, "cma_es knows one objective and no constraints"),
            Method::CmaEs => (Method::CmaEs, asked),
            Method::Auto => {
                let numeric = !self.dims.dims.iter().any(|dim| matches!(dim, Dim::Category(_)));
                if numeric
                    && self.tracks.is_empty()
                    && self.setup.max_total_trials > CMA_BUDGET_MIN
                    && count >= CMA_OBSERVATIONS_MIN
                {
                    return (Method::CmaEs, "many trials in a numeric space");
                }
                if count > GP_OBSERVATIONS_MAX {
                    return (Method::Tpe, "more observations than a Gaussian process can hold");
                }
                if self.dims.len() > GP_PARAMETERS_MAX {
                    return (Method::Tpe, "more parameters than a Gaussian process can learn");
                }
                (Method::Gp, "a Gaussian process learns most from few trials")
            }
        }
    }

    /// Whether a row may be proposed: not tried before, or, where noise is declared, not under way.
    fn is_fresh(&self, row: &[f64], number: u32, known: u32) -> bool {
        let key = self.dims.key(row);
        let was_inherited = !self.setup.noisy && self.setup.version.counts_early() && self.inherited.contains(&key);
        if was_inherited {
            return false;
        }
        let Some(trials) = self.tried.get(&key) else { return true };
        let mut before = trials.iter().filter(|trial| **trial < number);
        let ended = |trial: &u32| self.ended_at[*trial as usize].is_some_and(|at| at < known);
        if self.setup.noisy { before.all(ended) } else { before.next().is_none() }
    }

    /// The defaults, then the best inherited configurations.
    fn first(&self, number: u32, known: u32) -> Option<Suggestion> {
        let defaults = self.setup.space.parameters.iter().any(|parameter| parameter.default.is_some());
        if number == 0 && defaults {
            let mut u = self.design_point(0);
            for (place, parameter) in self.setup.space.parameters.iter().enumerate() {
                if let Some(given) = parameter.default.as_ref().and_then(|v| self.setup.space.u_of(place, v).ok()) {
                    u[place] = given;
                }
            }
            let explained = Explained::by("default", "the defaults of the parameters");
            return Some(Suggestion { proposal: self.dims.proposal(&self.dims.row(&u), 0), explained });
        }
        let rank = (number as usize).checked_sub(usize::from(defaults))?;
        if rank >= INHERITED_FIRST.min(self.base) || self.setup.version.counts_early() {
            return None;
        }
        let order = self.ranked_places(self.base);
        let mut seen = HashSet::new();
        let mut distinct = order.into_iter().filter(|at| seen.insert(self.dims.key(&self.observed.rows[*at])));
        let row = &self.observed.rows[distinct.nth(rank)?];
        let explained = Explained::by("inherited", "among the best of the earlier sweeps");
        let fresh = self.is_fresh(row, number, known);
        fresh.then(|| Suggestion { proposal: self.dims.proposal(row, u64::from(number)), explained })
    }

    /// The model of the first objective, with all that is known by now.
    fn current(&mut self, fit: &Fit, number: u32, known: u32, seen: &Seen) -> Model {
        let (observed, count) = (&seen.observed, seen.count);
        if seen.raw.is_some() {
            // Values move with each trial that gets further: nothing of an earlier model can be kept.
            let all = Known { fitted: count, count };
            let mut model = Model::new(&self.dims, &self.recipe, observed, all, &fit.parameters);
            model.extend(observed, count, &self.pending(number, known));
            return model;
        }
        let seen = Known { fitted: self.count(fit.known).min(count), count };
        let reusable = self.model.take().filter(|(of, model)| *of == fit.known && model.reaches(seen));
        let mut model = reusable.map_or_else(
            || Model::new(&self.dims, &self.recipe, &self.observed, seen, &fit.parameters),
            |(_, model)| model,
        );
        model.extend(&self.observed, count, &self.pending(number, known));
        model
    }

    fn by_gp(&mut self, number: u32, known: u32, seen: &Seen, why: &str) -> Option<Suggestion> {
        let fit = self.fit.clone()?;
        let (observed, count) = (&seen.observed, seen.count);
        let model = self.current(&fit, number, known, seen);
        let fitted = model.posterior.fitted();
        let mut order: Vec<usize> = (0..fitted.len()).collect();
        order.sort_by(|a, b| fitted[*a].total_cmp(&fitted[*b]));
        let ranked: Vec<Row> = order.iter().map(|at| observed.rows[model.members[*at]].clone()).collect();
        let incumbent = if self.recipe.incumbent_mean {
            fitted[*order.first()?]
        } else {
            model.members.iter().map(|at| model.scale.apply(observed.values[*at])).fold(f64::INFINITY, f64::min)
        };
        let failures = self.failures(&model, &observed.rows, &fit, known);
        let acquisition = Acquisition { posterior: &model.posterior, incumbent, failures };
        // Every second proposal looks near the best when there are many observations.
        let region = region::length(observed, count, self.dims.len()).filter(|_| number % 2 == 1);
        let search = Search {
            dims: &self.dims,
            recipe: &self.recipe,
            acquisition: &acquisition,
            fresh: &|row| self.is_fresh(row, number, known),
            ranked: &ranked,
            effort: (FULL_EFFORT_PAIRS / (ranked.len() as f64).powi(2)).min(1.0),
            region,
        };
        let (row, score) = search.best(&mut Stream::new(self.setup.seed, u64::from(number), "search"))?;
        let explained = self.explain(&model, seen, &row, score, incumbent, why);
        let proposal = self.dims.proposal(&row, u64::from(number));
        self.model = Some((fit.known, model)).filter(|_| seen.raw.is_none());
        Some(Suggestion { proposal, explained })
    }

    /// The same with further outputs.
    fn by_several(&mut self, number: u32, known: u32, seen: &Seen, why: &str) -> Option<Suggestion> {
        let fit = self.fit.clone()?;
        let model = self.current(&fit, number, known, seen);
        let pending: Vec<Row> = self.pending(number, known).into_iter().cloned().collect();
        let further = self.track_models(&fit, known, &pending.iter().collect::<Vec<&Row>>());
        let made = self.promised(number, known, (&fit, &model, &further), seen, why);
        self.model = Some((fit.known, model));
        self.keep_models(fit.known, further);
        made
    }

    fn promised(
        &self,
        number: u32,
        known: u32,
        (fit, model, further): (&Fit, &Model, &[Option<Model>]),
        seen: &Seen,
        why: &str,
    ) -> Option<Suggestion> {
        let aim = self.aim(number, model, further)?;
        let (mut objectives, mut bounds) = (vec![&model.posterior], Vec::new());
        for (track, further) in self.tracks.tracks.iter().zip(further) {
            match further {
                Some(of) if track.is_constraint() => {
                    bounds.push(Bound { posterior: &of.posterior, at: of.scale.bound() });
                }
                Some(of) => objectives.push(&of.posterior),
                None => {}
            }
        }
        let outputs = (objectives.len() + bounds.len()) as f64;
        let failures = self.failures(model, &seen.observed.rows, fit, known);
        let (norm, incumbent, normals) = (&aim.norm, aim.incumbent, aim.normals.as_slice());
        let promise = Several { objectives, norm, incumbent, normals, bounds, failures };
        let search = Search {
            dims: &self.dims,
            recipe: &self.recipe,
            acquisition: &promise,
            fresh: &|row| self.is_fresh(row, number, known),
            ranked: &aim.ranked,
            effort: (FULL_EFFORT_PAIRS / (aim.ranked.len() as f64 * outputs).powi(2)).min(1.0),
            region: None,
        };
        let (row, score) = search.best(&mut Stream::new(self.setup.seed, u64::from(number), "search"))?;
        let constrained = !promise.bounds.is_empty();
        let chance = libm::exp(promise.ln_feasible(std::slice::from_ref(&row))[0]);
        let alone = !self.tracks.has_objectives();
        let sign = self.sign();
        let explained = Explained {
            // Of several objectives it is a norm, which says nothing to people.
            incumbent: incumbent.filter(|_| alone).map(|incumbent| sign * model.scale.invert(incumbent)),
            weights: if alone { Vec::new() } else { aim.norm.weights.clone() },
            outputs: self.expected(&row, further),
            feasible: constrained.then_some(chance),
            ..self.explain(model, seen, &row, score, 0.0, why)
        };
        Some(Suggestion { proposal: self.dims.proposal(&row, u64::from(number)), explained })
    }

    /// What is expected of the further outputs.
    fn expected(&self, row: &Row, further: &[Option<Model>]) -> Vec<Expected> {
        let known = self.tracks.tracks.iter().zip(further).filter_map(|(track, model)| Some((track, model.as_ref()?)));
        let expected = known.map(|(track, model)| {
            let (mean, variance) = model.posterior.predict(std::slice::from_ref(row))[0];
            let shown = |value: f64| track.output.sought.outside(model.scale.invert(value));
            let (a, b) = (shown(mean - variance.sqrt()), shown(mean + variance.sqrt()));
            Expected { name: track.output.name.clone(), mean: shown(mean), interval: (a.min(b), a.max(b)) }
        });
        expected.collect()
    }

    fn explain(&self, model: &Model, seen: &Seen, row: &Row, score: f64, incumbent: f64, why: &str) -> Explained {
        let sign = self.sign();
        let (mean, variance) = model.posterior.predict(std::slice::from_ref(row))[0];
        let spread = variance.sqrt();
        let shown = |value: f64| sign * model.scale.invert(value);
        let mut line = Line::default();
        let (shape, weights) = (&model.posterior.shape, &model.posterior.weights);
        line.fill(shape, weights, &model.posterior.columns, row, model.posterior.observed);
        let mut near: Vec<(usize, f64)> = line.values.iter().copied().enumerate().collect();
        near.sort_by(|a, b| b.1.total_cmp(&a.1));
        let nearest = near.iter().take(NEAREST).map(|(at, correlation)| {
            let at = model.members[*at];
            let value = seen.raw.as_ref().map_or(seen.observed.values[at], |raw| raw[at].0);
            Near { trial: seen.observed.trials[at], correlation: *correlation, value: sign * value }
        });
        let (a, b) = (shown(mean - spread), shown(mean + spread));
        Explained {
            mean: Some(shown(mean)),
            interval: Some((a.min(b), a.max(b))),
            log_expected_improvement: Some(score),
            incumbent: Some(shown(incumbent)),
            nearest: nearest.collect(),
            ..Explained::by("gp", why)
        }
    }

    /// What is seen, best first.
    fn ranked(&self, seen: &Seen) -> Vec<Row> {
        let (observed, count) = (&seen.observed, seen.count);
        if !self.tracks.is_empty() {
            return self.ranked_places(count).into_iter().map(|at| observed.rows[at].clone()).collect();
        }
        let raw = |at: usize| seen.raw.as_ref().map_or_else(|| (observed.values[at], self.reports[at]), |raw| raw[at]);
        let level = self.level((0..count).map(|at| raw(at).1).collect());
        let mut order: Vec<usize> = (0..count).collect();
        // Those that reached the level by their values; behind them those that got less far, the farthest first.
        let reached = |at: usize| raw(at).1.min(level);
        order.sort_by(|a, b| reached(*b).cmp(&reached(*a)).then(raw(*a).0.total_cmp(&raw(*b).0)));
        order.into_iter().map(|at| observed.rows[at].clone()).collect()
    }

    /// The most reports that enough of the observations have: values from fewer are not compared with them (BOHB:
    /// Falkner, Klein and Hutter 2018, arXiv 1807.01774, section 3.2).
    fn level(&self, mut reports: Vec<u32>) -> u32 {
        reports.sort_unstable_by(|a, b| b.cmp(a));
        let enough = self.dims.len() + BOHB_BEYOND;
        reports.get(enough - 1).or(reports.last()).copied().unwrap_or(u32::MAX)
    }

    fn by_tpe(&self, number: u32, known: u32, seen: &Seen, why: &str) -> Option<Suggestion> {
        let shape = Shape::new(&self.dims, &self.recipe);
        let ranked = self.ranked(seen);
        let avoided: Vec<Row> = self.failed(known).into_iter().chain(self.pending(number, known)).cloned().collect();
        let failed: Vec<Row> = match self.setup.version.counts_early() {
            true => self.failed(known).into_iter().cloned().collect(),
            false => Vec::new(),
        };
        let parzen = Parzen { dims: &self.dims, shape: &shape, ranked: &ranked, avoided: &avoided, failed: &failed };
        let runs = parzen.runs();
        let safe = |row: &Row| runs.as_ref().is_none_or(|runs| parzen.is_safe(runs, row));
        let mut stream = Stream::new(self.setup.seed, u64::from(number), "tpe");
        let fresh = |row: &Row| self.is_fresh(row, number, known);
        let apart = (number % 2 == 1).then(|| parzen.apart(&mut stream)).filter(|row| fresh(row) && safe(row));
        let row = apart.or_else(|| {
            let candidates: Vec<Row> = parzen.together(&mut stream).into_iter().filter(fresh).collect();
            candidates.iter().find(|row| safe(row)).or(candidates.first()).cloned()
        })?;
        let proposal = self.dims.proposal(&row, u64::from(number));
        Some(Suggestion { proposal, explained: Explained::by("tpe", why) })
    }

    fn by_cma(&mut self, number: u32, known: u32, count: usize, why: &str) -> Option<Suggestion> {
        let shape = Shape::new(&self.dims, &self.recipe);
        if shape.numbers.is_empty() {
            return self.by_tpe(number, known, &self.seen(known), why);
        }
        let (rows, values) = (&self.observed.rows[..count], &self.observed.values[..count]);
        // It steps from result to result: what trials have on their way is nothing to it.
        if rows.is_empty() {
            return None;
        }
        let start = self.cma_start(number).unwrap_or(count).min(self.design());
        let reusable = self.cma.take().filter(|(from, cma)| *from == start && cma.seen <= count);
        let mut cma = reusable.map_or_else(
            || Cma::new(&self.dims, shape.numbers.clone(), &rows[..start], &values[..start]),
            |(_, cma)| cma,
        );
        cma.extend(&self.dims, rows, values);
        let mut stream = Stream::new(self.setup.seed, u64::from(number), "cma_es");
        let others: Vec<f64> = if shape.categories.is_empty() {
            vec![0.5; self.dims.len()]
        } else {
            let ranked = self.ranked(&self.seen(known));
            let parzen = Parzen { dims: &self.dims, shape: &shape, ranked: &ranked, avoided: &[], failed: &[] };
            let row = parzen.apart(&mut stream);
            (0..row.len()).map(|at| if row[at].is_nan() { 0.5 } else { self.dims.u(at, row[at]) }).collect()
        };
        let drawn = std::iter::repeat_with(|| self.dims.row(&cma.draw(&others, &mut stream)));
        let row = drawn.take(REDRAWS).find(|row| self.is_fresh(row, number, known));
        self.cma = Some((start, cma));
        let proposal = self.dims.proposal(&row?, u64::from(number));
        Some(Suggestion { proposal, explained: Explained::by("cma_es", why) })
    }

    /// How many observations CMA-ES had when it was first asked below `number`. It starts from them, and its
    /// generations are counted from there: only what was proposed may say where that is, not what was suggested and
    /// taken back.
    fn cma_start(&self, number: u32) -> Option<usize> {
        let based = (0..number).zip(&self.bases).filter_map(|(trial, basis)| Some((trial, (*basis)?)));
        let mut counted = based.map(|(trial, known)| (trial, known, self.count(known)));
        let asked = counted.find(|(trial, known, count)| {
            self.choice(*trial, *count).0 == Method::CmaEs
                && !self.designing(*trial, *known, &self.seen(*known))
                && self.first(*trial, *known).is_none()
        });
        asked.map(|(.., count)| count)
    }

    fn design_point(&self, number: u32) -> Vec<f64> {
        let points = Points::new(&mut Stream::new(self.setup.seed, 0, "design"), self.dims.len());
        points.point(u64::from(number))
    }

    /// A scrambled Sobol point; when it was tried before another, and in the end whatever of a finite space is left.
    fn designed(&self, number: u32, known: u32, why: &str) -> Option<Suggestion> {
        let mut stream = Stream::new(self.setup.seed, u64::from(number), "redraw");
        let first = self.dims.row(&self.design_point(number));
        let redrawn = std::iter::repeat_with(|| {
            let u: Vec<f64> = (0..self.dims.len()).map(|_| stream.unit()).collect();
            self.dims.row(&u)
        });
        let mut drawn = std::iter::once(first).chain(redrawn.take(REDRAWS));
        let fresh = |row: &Row| self.is_fresh(row, number, known);
        let row = drawn.find(fresh).or_else(|| {
            self.dims.size.filter(|size| *size <= WALK_MAX)?;
            self.dims.walk().find(fresh)
        })?;
        let proposal = self.dims.proposal(&row, u64::from(number));
        Some(Suggestion { proposal, explained: Explained::by("sobol", why) })
    }
}
