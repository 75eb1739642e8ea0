/* SPDX-License-Identifier: MIT */
#include "engine/crew_private.h"
#include "ring/error.h"
int pen_crew_worker_open(struct pen_crew *crew, struct pen_failure *why)
{
	(void)crew;
	return pen_fail(why, -PEN_UNSUPPORTED, 0, "workers");
}
void pen_crew_worker_close(struct pen_crew *crew)
{
	(void)crew;
}
void pen_crew_worker_start(struct pen_crew *crew)
{
	(void)crew;
}
void pen_crew_worker_event(struct pen_crew *crew, enum pen_crew_source source, uint32_t number)
{
	(void)crew;
	(void)source;
	(void)number;
}
void pen_crew_worker_ended(struct pen_crew *crew, const struct pen_launch_end *end)
{
	(void)crew;
	(void)end;
}
void pen_crew_worker_cancel(struct pen_crew *crew)
{
	(void)crew;
}
void pen_crew_worker_release(struct pen_crew *crew)
{
	(void)crew;
}
void pen_crew_worker_lines(struct pen_crew *crew)
{
	(void)crew;
}
uint64_t pen_crew_worker_clock(struct pen_crew *crew)
{
	(void)crew;
	return 0;
}
