#include "agent/process_stats.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"

static void write_gauge(struct buf *out, enum metrics_format format, const char *name,
                        const char *help, int64_t value)
{
    metrics_write_head(out, format, name, METRIC_GAUGE, help);
    buf_addf(out, "%s %" PRId64 "\n", name, value);
}

static void write_cpu(struct buf *out, enum metrics_format format)
{
    static const char name[] = "process_cpu_seconds_total";
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    int64_t us = (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                 usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    metrics_write_head(out, format, name, METRIC_COUNTER, "User and system CPU time spent.");
    buf_addf(out, "%s ", name);
    metrics_seconds(out, us / 1000);
    buf_add_str(out, "\n");
}

/* "size resident ..." in pages, proc(5). */
static void write_memory(struct buf *out, enum metrics_format format)
{
    char text[128] = "";
    long long size, resident;
    auto_close int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    long page = sysconf(_SC_PAGESIZE);

    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0 ||
        sscanf(text, "%lld %lld", &size, &resident) != 2)
        return;
    write_gauge(out, format, "process_virtual_memory_bytes", "Size of the address space.",
                size * page);
    write_gauge(out, format, "process_resident_memory_bytes", "Memory in use.", resident * page);
}

static void write_descriptors(struct buf *out, enum metrics_format format)
{
    auto_close int fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    auto_strv struct strv names = {0};
    struct rlimit limit;

    if (fd >= 0 && file_list(fd, &names, NULL) && names.n > 0) /* one of them is `fd` */
        write_gauge(out, format, "process_open_fds", "Open file descriptors.",
                    (int64_t)names.n - 1);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        write_gauge(out, format, "process_max_fds", "File descriptors that may be open.",
                    (int64_t)limit.rlim_cur);
}

void process_stats_write(struct buf *out, enum metrics_format format, time_t since)
{
    write_cpu(out, format);
    write_memory(out, format);
    write_descriptors(out, format);
    write_gauge(out, format, "process_start_time_seconds", "When the process started.",
                (int64_t)since);
}
