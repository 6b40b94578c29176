//! Failed look-ups against churn, with the join kick and without (ToN 2003, Table III).

use plotters::prelude::*;

use super::{Area, COLOURS, Drawn, FAINT, INK, SIZE, picture, small, title};
use crate::experiments::{ChurnCell, ChurnOutcome, Way};
use crate::lab::Lab;
use crate::published::CHURN;
use crate::report::short;

/// What is below is shown as none: one of a million.
const LOWEST: f64 = 0.01;
const HIGHEST: f64 = 20_000.0;

pub fn draw(lab: &Lab, results: &[(ChurnCell, ChurnOutcome)]) {
    let mut sizes: Vec<usize> = results.iter().map(|(cell, _)| cell.members).collect();
    sizes.dedup();
    for members in sizes {
        picture(lab, &format!("churn-{members}"), SIZE, |area| failures(area, members, results));
    }
}

fn failures(area: &Area<'_>, members: usize, results: &[(ChurnCell, ChurnOutcome)]) -> Drawn {
    let here = || results.iter().filter(|(cell, _)| cell.members == members);
    let scale = members as f64 / 1000.0;
    let widest = 0.42 * scale;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("Look-ups that fail while members come and go, {members} members"), title())
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(46)
        .build_cartesian_2d(0.0..widest, (0.8 * LOWEST..HIGHEST).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(FAINT.mix(0.0))
        .bold_line_style(FAINT)
        .axis_style(INK)
        .label_style(small())
        .x_desc("joins a second, and as many leaves")
        .y_desc("failed look-ups of 10,000")
        .y_label_formatter(&|&y| if y < 1.01 * LOWEST { "none".into() } else { short(y) })
        .draw()?;
    let lines = [
        (Way::Crashes, false, COLOURS[1], "crashes, without the join kick"),
        (Way::Leaves, false, COLOURS[3], "leaves, without the join kick"),
        (Way::Crashes, true, COLOURS[0], "crashes, with the join kick"),
        (Way::Leaves, true, COLOURS[2], "leaves, with the join kick"),
    ];
    for (way, kick, colour, label) in lines {
        let points: Vec<(f64, f64)> = here()
            .filter(|(cell, _)| cell.way == way && cell.kick == kick)
            .map(|(cell, outcome)| (CHURN[cell.row].rate * scale, outcome.failures().max(LOWEST)))
            .collect();
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(2)));
        chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    if members == 1000 {
        let re_run = CHURN.iter().map(|row| (row.rate, row.re_run));
        chart
            .draw_series(DashedLineSeries::new(re_run, 2, 4, COLOURS[4].stroke_width(2)))?
            .label("re-run (crashes, no kick, owners do not name their predecessors)")
            .legend(|at| super::dashes(at, COLOURS[4]));
        let paper = CHURN.iter().map(|row| (row.rate, row.failures.max(LOWEST)));
        chart
            .draw_series(DashedLineSeries::new(paper, 5, 4, INK.stroke_width(2)))?
            .label("the paper's (leaves), as recalled")
            .legend(|at| super::dashes(at, INK));
    }
    super::legend(&mut chart, SeriesLabelPosition::UpperLeft)
}
