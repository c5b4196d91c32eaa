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
    CONSTRAINT pk_run PRIMARY KEY (id),
    CONSTRAINT ck_run_state CHECK (state IN ('running', 'succeeded', 'partial', 'failed', 'skipped', 'blocked', 'interrupted')),
    CONSTRAINT ck_run_job CHECK (job IN ('backup', 'replicate', 'check', 'restore-test', 'retention', 'restore')),
    CONSTRAINT ck_run_finished CHECK ((state = 'running') = (finished_at IS NULL)),
    CONSTRAINT ck_run_failure CHECK ((failure_kind IS NULL) = (failure_message IS NULL))
);

CREATE INDEX ix_run_newest ON run (policy, job, vault, started_at);

CREATE INDEX ix_run_started_at ON run (started_at);

CREATE INDEX ix_run_open ON run (policy, job) WHERE state = 'running';

CREATE UNIQUE INDEX uq_run_open ON run (policy, job) WHERE state = 'running' AND job <> 'restore';

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

CREATE INDEX ix_recovery_point_newest ON recovery_point (policy, vault, time) WHERE gone_at IS NULL;

CREATE UNIQUE INDEX uq_recovery_point_there ON recovery_point (tenant, vault, snapshot) WHERE gone_at IS NULL;

CREATE TABLE repository (
    tenant TEXT NOT NULL,
    vault TEXT NOT NULL,
    config_sha256 TEXT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    CONSTRAINT pk_repository PRIMARY KEY (tenant, vault)
);

INSERT INTO alembic_version (version_num) VALUES ('0002');
