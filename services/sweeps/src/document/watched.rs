//! What the trials of a sweep are measured by: the metrics that are watched, and when a trial is feasible.

use tuning::Goal;

use super::spec::{Constraint, ConstraintOperator, Objective, SweepSpec};

impl Constraint {
    /// Whether a value meets it. No value that is not a number does.
    pub fn holds(&self, value: f64) -> bool {
        match self.operator {
            ConstraintOperator::AtMost => value <= self.value,
            ConstraintOperator::AtLeast => value >= self.value,
        }
    }
}

impl SweepSpec {
    /// All objectives, in written order.
    pub fn objectives(&self) -> impl Iterator<Item = &Objective> {
        std::iter::once(&self.objective).chain(&self.further_objectives)
    }

    /// Whether there is more than one objective: then no trial is the best.
    pub fn has_several(&self) -> bool {
        !self.further_objectives.is_empty()
    }

    /// Whether the one objective is all that is watched.
    pub fn is_plain(&self) -> bool {
        self.further_objectives.is_empty() && self.constraints.is_empty()
    }

    /// The watched metrics, each once: those of the objectives, then those of the constraints.
    pub fn watched(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::with_capacity(1 + self.further_objectives.len() + self.constraints.len());
        let objectives = self.objectives().map(|objective| objective.primary_metric.as_str());
        for name in objectives.chain(self.constraints.iter().map(|constraint| constraint.metric.as_str())) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The goal for a watched metric; that of a constraint is its own side of the bound.
    pub fn goal_of(&self, metric: &str) -> Option<Goal> {
        let of_objective = self.objectives().find(|objective| objective.primary_metric == metric);
        let of_constraint = || self.constraints.iter().find(|constraint| constraint.metric == metric);
        let side = |constraint: &Constraint| match constraint.operator {
            ConstraintOperator::AtMost => Goal::Minimize,
            ConstraintOperator::AtLeast => Goal::Maximize,
        };
        of_objective.map(|objective| objective.goal).or_else(|| of_constraint().map(side))
    }

    /// Whether a trial with these values of the watched metrics meets the constraints; `None` while one is missing.
    pub fn is_feasible(&self, values: &[Option<f64>]) -> Option<bool> {
        let watched = self.watched();
        let mut feasible = true;
        for constraint in &self.constraints {
            let place = watched.iter().position(|name| *name == constraint.metric)?;
            feasible &= constraint.holds((*values.get(place)?)?);
        }
        Some(feasible)
    }

    /// The values of the objectives, when all are there; they stand first among the watched ones.
    pub fn results(&self, values: &[Option<f64>]) -> Option<Vec<f64>> {
        let count = 1 + self.further_objectives.len();
        values.get(..count)?.iter().copied().collect()
    }
}
