//! How a ring mends itself after a part of it has failed.

use plotters::prelude::*;

use super::{Area, COLOURS, Drawn, FAINT, INK, SIZE, picture, small, title};
use crate::experiments::Repair;
use crate::lab::Lab;

pub fn draw(lab: &Lab, results: &[Repair]) {
    picture(lab, "convergence", SIZE, |area| course(area, results));
}

fn course(area: &Area<'_>, results: &[Repair]) -> Drawn {
    let is_whole = |course: &(f64, f64, f64)| course.2 == 1.0;
    let whole = results.iter().filter_map(|repair| repair.course.iter().find(|course| is_whole(course)));
    let last = whole.map(|course| course.0).fold(4.0, f64::max) + 1.0;
    let mut chart = ChartBuilder::on(area)
        .caption("A part of 1000 members falls silent at once: who is right again when", title())
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..last, 0.0..1.04)?;
    chart
        .configure_mesh()
        .light_line_style(FAINT.mix(0.0))
        .bold_line_style(FAINT)
        .axis_style(INK)
        .label_style(small())
        .x_desc("rounds of stabilise (30 s each) since the failure")
        .y_desc("part of the living members")
        .y_label_formatter(&|y| format!("{:.0} %", 100.0 * y))
        .draw()?;
    let shown = results.iter().filter(|repair| [0.1, 0.3, 0.5].contains(&repair.failed));
    for (repair, colour) in shown.zip(COLOURS) {
        let first = repair.course.iter().map(|&(rounds, first, _)| (rounds, first));
        let lists = repair.course.iter().map(|&(rounds, _, lists)| (rounds, lists));
        chart
            .draw_series(LineSeries::new(lists, colour.stroke_width(2)))?
            .label(format!("{:.0} % failed: whole list", 100.0 * repair.failed))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(2)));
        chart
            .draw_series(DashedLineSeries::new(first, 5, 4, colour.stroke_width(2)))?
            .label(format!("{:.0} % failed: first successor", 100.0 * repair.failed))
            .legend(move |at| super::dashes(at, colour));
    }
    super::legend(&mut chart, SeriesLabelPosition::LowerRight)
}
