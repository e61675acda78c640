//! A run: every case that was asked for, in turns with the peer.

use crate::case::Case;
use crate::measure::{self, Stopwatch};
use crate::models::Model;
use crate::peer::{Peer, Program};
use crate::{BenchSettings, Kind, Row, What};
use crate::{convolutions, data, layers, models, products, segmentation};
use anyhow::bail;
use beit::settings::Size;
use beit::{Device, Watch, Work};
use beit_ops::{Ops, Plan};
use std::rc::Rc;

/// A run, on its way to a device.
pub(super) struct Run<'a> {
    pub(super) settings: &'a BenchSettings,
    pub(super) watch: &'a Watch,
    pub(super) each: &'a mut dyn FnMut(Row) -> anyhow::Result<()>,
}

impl Work for Run<'_> {
    /// Errors of the bench itself.
    type Output = anyhow::Result<()>;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> beit::Result<Self::Output> {
        let Self { settings, watch, each } = self;
        let stopwatch = Stopwatch { runs: settings.runs.into(), seconds: settings.seconds };
        let bench =
            Bench { args: settings, ops: &**ops, device, watch, stopwatch, each, models: None, any: false };
        Ok(bench.run())
    }
}

struct Bench<'a, O> {
    args: &'a BenchSettings,
    ops: &'a O,
    device: &'a Device,
    watch: &'a Watch,
    stopwatch: Stopwatch,
    each: &'a mut dyn FnMut(Row) -> anyhow::Result<()>,
    /// The peer of every row but those of segmenters.
    models: Option<Peer>,
    /// Whether a row was wanted.
    any: bool,
}

/// How often ours and the peer's are timed in turns.
const TURNS: usize = 3;

/// What a peer that only prepares measures: one call.
const PREPARATION: Stopwatch = Stopwatch { runs: 1, seconds: 1e-9 };

impl<O: Ops> Bench<'_, O> {
    fn run(mut self) -> anyhow::Result<()> {
        self.models = self.peer(Program::Models)?;
        let feeds = self.args.what == What::Cpu && self.args.wants(Kind::Data);
        // What cannot be measured is said before anything is.
        let pipeline = feeds.then(|| data::Pipeline::new(self.args.image.as_deref())).transpose()?;
        let segmenters = segmentation::rows(self.args)?;
        let side = self.or(self.args.side, [8192, 2048, 1024]);
        self.row(&products::Product::square(side))?;
        for preset in self.args.presets() {
            self.model(preset)?;
        }
        segmenters.iter().try_for_each(|case| self.row(case))?;
        if let Some(pipeline) = pipeline {
            self.row(&data::Masks::new()?)?;
            self.row(&pipeline)?;
        }
        match &self.args.matching {
            Some(text) if !self.any => bail!(beit::Error::Setting(format!(
                "--matching {text}: no row of these presets and kinds has a name with it; a run without the flag prints the names"
            ))),
            _ => Ok(()),
        }
    }

    fn model(&mut self, preset: Size) -> anyhow::Result<()> {
        let whole = if preset == Size::Large { 64 } else { 128 };
        let batch = self.or(self.args.batch_size, [whole, 8, 2]);
        let model = Model::new(preset, batch, self.args.recompute)?;
        if self.args.wants(Kind::Products) {
            products::of_model(&model).iter().try_for_each(|case| self.row(case))?;
        }
        if self.args.wants(Kind::Convolutions) {
            convolutions::of_tokenizer(&model).iter().try_for_each(|case| self.row(case))?;
        }
        if self.args.wants(Kind::Layers) {
            layers::of_model(&model).iter().try_for_each(|case| self.row(case))?;
        }
        if self.args.wants(Kind::Steps) {
            if self.args.what == What::Cpu {
                let one = Model::new(preset, 1, false)?;
                self.row(&models::inference(&one))?;
            }
            models::steps(&model, self.args.peer.is_some()).iter().try_for_each(|case| self.row(case))?;
        }
        Ok(())
    }

    /// What was asked for, or a default: on CUDA, for `bench cpu`, elsewhere.
    fn or(&self, asked: Option<usize>, [cuda, cpu, other]: [usize; 3]) -> usize {
        match asked {
            Some(asked) => asked,
            None if self.device.flag().starts_with("cuda") => cuda,
            None if self.args.what == What::Cpu => cpu,
            None => other,
        }
    }

    /// Measures a case that is wanted, in turns with the peer where there is one; or has the peer prepare for it.
    fn row(&mut self, case: &impl Case) -> anyhow::Result<()> {
        if !self.args.matches(&case.name()) {
            return Ok(());
        }
        self.any = true;
        if self.args.prepare_peer {
            return self.prepare(case);
        }
        let row = self.measured(case)?;
        (self.each)(row)
    }

    fn prepare(&mut self, case: &impl Case) -> anyhow::Result<()> {
        if let (Some(peer), Some(question)) = (self.models.as_mut(), case.question())
            && peer.knows(case.program(), &question)
        {
            peer.ask(&question, &PREPARATION)?;
            self.watch.note(&format!("{}: the peer has compiled it", case.name()));
        }
        Ok(())
    }

    fn measured(&mut self, case: &impl Case) -> anyhow::Result<Row> {
        let (flops, planned_bytes) = self.planned(case);
        let mut running = case.prepare(self.ops, measure::filled);
        measure::warm_up(&mut running);
        let mut ours = vec![self.stopwatch.time(self.ops, &mut running)?];
        let mut theirs = Vec::new();
        let mut fresh = match case.program() {
            Program::Models => None,
            program @ Program::Segmenters => self.peer(program)?,
        };
        let peer = fresh.as_mut().or(self.models.as_mut());
        if let (Some(peer), Some(question)) = (peer, case.question())
            && peer.knows(case.program(), &question)
        {
            // In turns, so that both meet the same machine.
            for _ in 0..TURNS {
                theirs.push(peer.ask(&question, &self.stopwatch)?);
                ours.push(self.stopwatch.time(self.ops, &mut running)?);
            }
        }
        let mut others: Vec<f64> = theirs.iter().map(|answer| answer.seconds).collect();
        Ok(Row {
            name: case.name(),
            seconds: measure::median(&mut ours),
            flops,
            images: case.images(),
            planned_bytes,
            taken_bytes: self.device.memory().map(|[_, taken]| taken),
            peer_seconds: (!others.is_empty()).then(|| measure::median(&mut others)),
            square: case.is_square(),
            alone: case.program() == Program::Segmenters && self.device.flag() == "cpu",
            peak_bytes: None,
            peer_peak_bytes: theirs.iter().filter_map(|answer| answer.peak_bytes).max(),
        })
    }

    /// Operations of a call, and the most bytes that tensors take.
    fn planned(&self, case: &impl Case) -> (u64, u64) {
        let plan = Plan::new(self.device.footprint());
        let mut planned = case.prepare(&plan, beit_ops::Device::zeros);
        planned();
        let before = plan.flops();
        planned();
        (plan.flops() - before, plan.peak_bytes() as u64)
    }

    /// The peer that was asked for, where it has this program for this device.
    fn peer(&self, program: Program) -> anyhow::Result<Option<Peer>> {
        let start = |kind| Peer::start(kind, program, &self.args.python, self.device, self.watch);
        self.args.peer.filter(|&kind| program.is_of(kind, self.device)).map(start).transpose()
    }
}
