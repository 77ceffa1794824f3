// The way from the display to the report of the specimen on the stage, where this server has the record of cases.

import { setAttribute, show } from "./dom.js";
import { PART } from "./store.js";

export class ReportLink {
  parts = [PART.CASE];

  constructor(node, store) {
    this.node = node;
    this.store = store;
  }

  update() {
    const { site, tally } = this.store;
    const about = tally.case;
    const isThere = site.has_record && site.role !== "viewer" && Boolean(about?.specimen_id);
    show(this.node, isThere);
    if (!isThere) return;
    const query = new URLSearchParams({ case: about.case_id, specimen: about.specimen_id });
    setAttribute(this.node, "href", `/static/report.html?${query}`);
  }
}
