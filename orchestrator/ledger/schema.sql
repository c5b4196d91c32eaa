-- A new ledger, as the migrations build one from nothing (tests/orchestrator/ledger/test_migrations.py compares the two).

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE run (
    id TEXT NOT NULL,
    job TEXT NOT NULL,
    tenant TEXT NOT NULL,
    policy TEXT NOT NULL,
    site TEXT NOT NULL,
    vault TEXT NOT NULL,
    source_vault TEXT,
    settings_hash TEXT NOT NULL,
    state TEXT NOT NULL,
    owner_host TEXT NOT NULL,
    owner_boot TEXT NOT NULL,
    owner_pid BIGINT NOT NULL,
    owner_started TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    failure_kind TEXT,
    failure_message TEXT,
    note TEXT NOT NULL,
    result TEXT,
    seconds FLOAT NOT NULL,
    cpu_seconds FLOAT NOT NULL,
    peak_memory BIGINT NOT NULL,
    tool TEXT NOT NULL,
    slot TEXT,
    proof TEXT,
    CONSTRAINT pk_run PRIMARY KEY (id),
    CONSTRAINT ck_run_state CHECK (state IN ('running', 'succeeded', 'partial', 'failed', 'skipped', 'blocked', 'interrupted')),
    CONSTRAINT ck_run_job CHECK (job IN ('backup', 'replicate', 'audit', 'check', 'restore-test', 'retention', 'restore', 'report')),
    CONSTRAINT ck_run_finished CHECK ((state = 'running') = (finished_at IS NULL)),
    CONSTRAINT ck_run_failure CHECK ((failure_kind IS NULL) = (failure_message IS NULL))
);

CREATE INDEX ix_run_started_at ON run (started_at);

CREATE INDEX ix_run_open ON run (policy, job) WHERE state = 'running';

CREATE UNIQUE INDEX uq_run_open ON run (policy, job) WHERE state = 'running' AND job <> 'restore';

CREATE INDEX ix_run_slot ON run (slot) WHERE slot IS NOT NULL;

CREATE INDEX ix_run_newest ON run (policy, job, vault, started_at);

CREATE INDEX ix_run_ended ON run (policy, job, vault, tenant, finished_at);

CREATE INDEX ix_run_of_repository ON run (tenant, vault, job, finished_at) WHERE job IN ('audit', 'check');

CREATE INDEX ix_run_proof ON run (tenant, vault, job, proof, finished_at) WHERE proof IS NOT NULL AND job IN ('audit', 'check');

CREATE INDEX ix_run_differs ON run (tenant, vault, policy, finished_at) WHERE job = 'restore-test' AND substr(proof, 1, 1) = '-';

CREATE TABLE settings_version (
    hash TEXT NOT NULL,
    text TEXT NOT NULL,
    first_used_at BIGINT NOT NULL,
    CONSTRAINT pk_settings_version PRIMARY KEY (hash)
);

CREATE TABLE recovery_point (
    id INTEGER NOT NULL,
    snapshot TEXT NOT NULL,
    origin TEXT NOT NULL,
    tenant TEXT NOT NULL,
    policy TEXT NOT NULL,
    site TEXT NOT NULL,
    vault TEXT NOT NULL,
    run TEXT NOT NULL,
    time BIGINT NOT NULL,
    tree TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    gone_at BIGINT,
    complete BOOLEAN NOT NULL,
    CONSTRAINT pk_recovery_point PRIMARY KEY (id)
);

CREATE INDEX ix_recovery_point_seen ON recovery_point (policy, vault, seen_at);

CREATE INDEX ix_recovery_point_gone ON recovery_point (gone_at, seen_at) WHERE gone_at IS NOT NULL;

CREATE INDEX ix_recovery_point_origin ON recovery_point (origin);

CREATE INDEX ix_recovery_point_run ON recovery_point (run);

CREATE INDEX ix_recovery_point_newest ON recovery_point (policy, vault, time) WHERE gone_at IS NULL;

CREATE UNIQUE INDEX uq_recovery_point_there ON recovery_point (tenant, vault, snapshot) WHERE gone_at IS NULL;

CREATE TABLE repository (
    tenant TEXT NOT NULL,
    vault TEXT NOT NULL,
    config_sha256 TEXT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    CONSTRAINT pk_repository PRIMARY KEY (tenant, vault)
);

CREATE TABLE line (
    id INTEGER NOT NULL,
    policy TEXT NOT NULL,
    tenant TEXT NOT NULL,
    job TEXT NOT NULL,
    site TEXT NOT NULL,
    vault TEXT NOT NULL,
    source_vault TEXT,
    schedule TEXT NOT NULL,
    after_job TEXT,
    zone TEXT NOT NULL,
    splay BIGINT NOT NULL,
    catch_up BIGINT,
    settings_hash TEXT NOT NULL,
    since BIGINT NOT NULL,
    cursor BIGINT NOT NULL,
    until BIGINT,
    CONSTRAINT pk_line PRIMARY KEY (id),
    CONSTRAINT ck_line_job CHECK (job IN ('backup', 'replicate', 'audit', 'check', 'restore-test', 'retention', 'restore', 'report'))
);

CREATE UNIQUE INDEX uq_line_in_force ON line (policy, job, vault) WHERE until IS NULL;

CREATE TABLE slot (
    id TEXT NOT NULL,
    line BIGINT NOT NULL,
    policy TEXT NOT NULL,
    tenant TEXT NOT NULL,
    job TEXT NOT NULL,
    site TEXT NOT NULL,
    vault TEXT NOT NULL,
    source_vault TEXT,
    settings_hash TEXT NOT NULL,
    "key" TEXT NOT NULL,
    nominal BIGINT NOT NULL,
    due BIGINT NOT NULL,
    until BIGINT,
    after_job TEXT,
    known_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    why_kind TEXT,
    why_text TEXT,
    why_other TEXT,
    run TEXT,
    attempts BIGINT NOT NULL,
    retry_at BIGINT,
    closed_at BIGINT,
    CONSTRAINT pk_slot PRIMARY KEY (id),
    CONSTRAINT ck_slot_state CHECK (state IN ('due', 'running', 'succeeded', 'partial', 'failed', 'missed', 'coalesced', 'skipped', 'blocked', 'interrupted')),
    CONSTRAINT ck_slot_job CHECK (job IN ('backup', 'replicate', 'audit', 'check', 'restore-test', 'retention', 'restore', 'report')),
    CONSTRAINT ck_slot_closed CHECK ((state IN ('due', 'running')) = (closed_at IS NULL)),
    CONSTRAINT ck_slot_reason CHECK (closed_at IS NULL OR why_kind IS NOT NULL),
    CONSTRAINT ck_slot_why CHECK ((why_kind IS NULL) = (why_text IS NULL) AND (why_kind IS NULL) = (why_other IS NULL)),
    CONSTRAINT ck_slot_run CHECK (state <> 'running' OR run IS NOT NULL),
    CONSTRAINT ck_slot_retry CHECK (state = 'due' OR retry_at IS NULL)
);

CREATE INDEX ix_slot_open ON slot (due, id) WHERE closed_at IS NULL;

CREATE INDEX ix_slot_due ON slot (due, state);

CREATE INDEX ix_slot_of_policy ON slot (policy, job, vault, due);

CREATE INDEX ix_slot_of_line ON slot (line, nominal);

CREATE TABLE slot_sum (
    line BIGINT NOT NULL,
    kind TEXT NOT NULL,
    until BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    partial BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    missed BIGINT NOT NULL,
    coalesced BIGINT NOT NULL,
    skipped BIGINT NOT NULL,
    blocked BIGINT NOT NULL,
    interrupted BIGINT NOT NULL,
    CONSTRAINT pk_slot_sum PRIMARY KEY (line, kind),
    CONSTRAINT ck_slot_sum_kind CHECK (kind IN ('sealed', 'removed'))
);

CREATE TRIGGER slot_made AFTER INSERT ON slot
BEGIN
    DELETE FROM slot_sum WHERE kind = 'sealed' AND line = new.line AND until > new.nominal;
END;

CREATE TRIGGER slot_changed AFTER UPDATE ON slot
WHEN old.closed_at IS NOT NULL
BEGIN
    DELETE FROM slot_sum WHERE kind = 'sealed' AND line = old.line AND until > old.nominal;
    DELETE FROM slot_sum WHERE kind = 'sealed' AND line = new.line AND until > new.nominal;
END;

CREATE TRIGGER slot_removed AFTER DELETE ON slot
BEGIN
    DELETE FROM slot_sum WHERE kind = 'sealed' AND line = old.line AND until > old.nominal;
END;

CREATE TRIGGER line_changed AFTER UPDATE ON line
WHEN new.policy <> old.policy OR new.job <> old.job OR new.vault <> old.vault OR new.schedule <> old.schedule OR new.zone <> old.zone OR new.since <> old.since OR new.cursor < old.cursor OR coalesce(new.until, 0) <> coalesce(old.until, 0)
BEGIN
    DELETE FROM slot_sum WHERE kind = 'sealed' AND line = old.id AND (new.policy <> old.policy OR new.job <> old.job OR new.vault <> old.vault OR new.schedule <> old.schedule OR new.zone <> old.zone OR new.since <> old.since OR until > coalesce(new.until, new.cursor) + 1);
END;

CREATE TRIGGER line_removed AFTER DELETE ON line
BEGIN
    DELETE FROM slot_sum WHERE kind = 'sealed' AND line = old.id;
END;

CREATE TABLE event (
    id INTEGER NOT NULL,
    at BIGINT NOT NULL,
    topic TEXT NOT NULL,
    severity TEXT NOT NULL,
    tenant TEXT,
    policy TEXT,
    subject TEXT NOT NULL,
    text TEXT NOT NULL,
    "key" TEXT NOT NULL,
    CONSTRAINT pk_event PRIMARY KEY (id),
    CONSTRAINT ck_event_severity CHECK (severity IN ('info', 'warning', 'critical'))
);

CREATE INDEX ix_event_at ON event (at);

CREATE TABLE notice (
    id INTEGER NOT NULL,
    channel TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    "key" TEXT NOT NULL,
    through BIGINT NOT NULL,
    severity TEXT NOT NULL,
    tenant TEXT,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    delivered_at BIGINT,
    error TEXT NOT NULL,
    CONSTRAINT pk_notice PRIMARY KEY (id),
    CONSTRAINT ck_notice_state CHECK (state IN ('pending', 'delivered', 'given-up')),
    CONSTRAINT ck_notice_severity CHECK (severity IN ('info', 'warning', 'critical')),
    CONSTRAINT ck_notice_delivered CHECK ((state = 'delivered') = (delivered_at IS NOT NULL))
);

CREATE INDEX ix_notice_made_at ON notice (made_at);

CREATE INDEX ix_notice_pending ON notice (next_at) WHERE state = 'pending';

CREATE TABLE outbox (
    id INTEGER NOT NULL,
    told_until BIGINT NOT NULL,
    CONSTRAINT pk_outbox PRIMARY KEY (id),
    CONSTRAINT ck_outbox_single CHECK (id = 1)
);

CREATE TABLE alarm (
    id INTEGER NOT NULL,
    "key" TEXT NOT NULL,
    topic TEXT NOT NULL,
    severity TEXT NOT NULL,
    tenant TEXT,
    policy TEXT,
    subject TEXT NOT NULL,
    text TEXT NOT NULL,
    raised_at BIGINT NOT NULL,
    cleared_at BIGINT,
    CONSTRAINT pk_alarm PRIMARY KEY (id),
    CONSTRAINT ck_alarm_severity CHECK (severity IN ('info', 'warning', 'critical'))
);

CREATE UNIQUE INDEX uq_alarm_raised ON alarm ("key") WHERE cleared_at IS NULL;

CREATE TABLE lease (
    id INTEGER NOT NULL,
    owner_host TEXT,
    owner_boot TEXT,
    owner_pid BIGINT,
    owner_started TEXT,
    term BIGINT NOT NULL,
    beat BIGINT NOT NULL,
    taken_at BIGINT NOT NULL,
    beaten_at BIGINT NOT NULL,
    CONSTRAINT pk_lease PRIMARY KEY (id),
    CONSTRAINT ck_lease_single CHECK (id = 1),
    CONSTRAINT ck_lease_owner CHECK ((owner_host IS NULL) = (owner_boot IS NULL) AND (owner_host IS NULL) = (owner_pid IS NULL) AND (owner_host IS NULL) = (owner_started IS NULL))
);

INSERT INTO alembic_version (version_num) VALUES ('0005');
